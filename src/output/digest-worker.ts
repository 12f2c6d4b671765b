/** The thread that makes one digest of what another one reads into the memory that both share. */
import { createHash } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import type { DigestRequest, DigestResponse, DigestSetup } from './digest-threads.ts'

const { algorithm, memory, slotSize } = workerData as DigestSetup
const zeros = Buffer.alloc(slotSize)
const slots = Array.from(
  { length: memory.byteLength / slotSize },
  (_, slot) => new Uint8Array(memory, slot * slotSize, slotSize),
)
const hash = createHash(algorithm)

parentPort?.on('message', (request: DigestRequest) => {
  if (request === 'end') {
    respond({ digest: hash.digest('hex') })
    return
  }
  const { slot, size, hole } = request
  hash.update((hole ? zeros : (slots[slot] as Uint8Array)).subarray(0, size))
  respond({ slot })
})

function respond(response: DigestResponse): void {
  parentPort?.postMessage(response)
}
