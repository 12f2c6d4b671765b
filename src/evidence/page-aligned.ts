/**
 * Memory for reads and writes that are large: the kernel copies to and from the beginning of a page up to twice as fast as
 * to and from the 16 bytes behind it, where the system's allocator would put us (measured on AMD Zen, whose `rep movsb`
 * minds). Node has no call for it, but memory that may be resized is reserved in whole pages, so ours may be, by nothing.
 */
type Reserved<T> = new (size: number, options: { maxByteLength: number }) => T

/** A buffer of zeros that begins at the beginning of a page. */
export function pageAligned(size: number): Buffer {
  const Memory = ArrayBuffer as unknown as Reserved<ArrayBuffer>
  return Buffer.from(new Memory(size, { maxByteLength: size }), 0, size)
}

/** The same to share with other threads. */
export function sharedPageAligned(size: number): SharedArrayBuffer {
  const Memory = SharedArrayBuffer as unknown as Reserved<SharedArrayBuffer>
  return new Memory(size, { maxByteLength: size })
}
