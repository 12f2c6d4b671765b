/**
 * Output that cannot be written.
 *
 * - `closed`: whoever read it has enough, which is no failure
 * - `exists`: something stands in its place already
 * - `failed`: the operating system refuses
 */
export class OutputError extends Error {
  override readonly name = 'OutputError'
  readonly kind: 'closed' | 'exists' | 'failed'
  readonly hint: string | undefined

  constructor(kind: OutputError['kind'], message: string, hint?: string) {
    super(message)
    this.kind = kind
    this.hint = hint
  }
}
