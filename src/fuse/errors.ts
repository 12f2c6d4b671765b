/** Mounting or unmounting that failed: what, where, and what to do about it. */
export class MountError extends Error {
  override readonly name = 'MountError'
  readonly hint: string | undefined

  constructor(message: string, hint?: string) {
    super(message)
    this.hint = hint
  }
}
