import { type Checkpoint, tagsNamed } from '../checkpoint/parse.ts'
import { numberOf } from '../checkpoint/values.ts'

/** No machine of VMware's is older than VMware. */
const EARLIEST = Date.UTC(1998, 1)

/** What a checkpoint says of time, by the clock of its host. */
export interface Times {
  readonly poweredOn: Date | undefined
  /** The last time: of a snapshot this may be long before it was taken. */
  readonly suspended: Date | undefined
}

/**
 * Times in the statistics that VMware keeps of a machine: seconds since 1970, UTC. No document says so; in a genuine file
 * they are as far apart as `vm.uptime` is long, and other readers take them for the same.
 */
export function timesOf(checkpoint: Checkpoint): Times {
  return { poweredOn: timeIn(checkpoint, 'vm.powerOnTimeStamp'), suspended: timeIn(checkpoint, 'vm.suspendTime') }
}

/** Genuine files have the same tag twice, and in one of them 0. */
function timeIn(checkpoint: Checkpoint, statistic: string): Date | undefined {
  for (const tag of tagsNamed(checkpoint, 'MStats', `${statistic}.clientData`)) {
    const date = new Date(Number(numberOf(tag)) * 1000)
    if (date.getTime() >= EARLIEST) {
      return date
    }
  }
  return undefined
}
