/** What a .vmsd says of one snapshot. */
export interface Snapshot {
  readonly uid: string
  readonly displayName: string
  readonly description: string
  /** Name of the .vmsn, which may come with a path. */
  readonly filename: string
  /** The `uid` of the snapshot that it was taken on top of. */
  readonly parent: string | undefined
  readonly created: Date | undefined
}

/** The snapshots that a .vmsd lists under `snapshot0.uid`, `snapshot0.filename` and so on, in that order. */
export function snapshotsOf(settings: ReadonlyMap<string, string>): Snapshot[] {
  const numbers = new Set<number>()
  for (const key of settings.keys()) {
    const [, number] = /^snapshot(\d{1,9})\./.exec(key) ?? []
    if (number !== undefined) {
      numbers.add(Number(number))
    }
  }
  return [...numbers]
    .sort((a, b) => a - b)
    .map((number) => {
      const of = (key: string) => settings.get(`snapshot${number}.${key}`)
      return {
        uid: of('uid') ?? '',
        displayName: of('displayname') ?? '',
        description: of('description') ?? '',
        filename: of('filename') ?? '',
        parent: of('parent'),
        created: createdAt(of('createtimehigh'), of('createtimelow')),
      }
    })
}

/** The halves of the number of microseconds since 1970, each written as a signed number of 32 bits. */
function createdAt(high: string | undefined, low: string | undefined): Date | undefined {
  if (high === undefined || low === undefined) {
    return undefined
  }
  const date = new Date((Number(high) * 0x1_0000_0000 + (Number(low) >>> 0)) / 1000)
  return Number.isNaN(date.getTime()) ? undefined : date
}
