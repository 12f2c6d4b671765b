import { nulPadded, Struct, u16, u32, u64 } from '../evidence/struct.ts'

/**
 * The records of a .vmss or .vmsn, as tables. All numbers are little-endian.
 *
 * ```
 * header | group record x numgroups | tags of group 0 | tags of group 1 | ... | 00 00
 * tag    = word | name | index x NINDX | value
 *                                      | block header | pad | data
 * ```
 *
 * Known from VMware's own reader in crash-utility (vmware_vmss.c) and measured on files of Player 12 and 16.
 */

/** At offset 0. `version` is the checkpoint format's (8 in every genuine file at hand), not a number in the magic. */
export const HEADER = new Struct({ magic: u32, version: u32, numgroups: u32 })

/** Size of a group's name field. */
const GROUP_NAME_SIZE = 64

/** `position` is the offset of the group's first tag; `size` counts to the end of its terminator. */
export const GROUP = new Struct({ name: nulPadded(GROUP_NAME_SIZE), position: u64, size: u64 })

/** The record that 32-bit checkpoints may have instead; no genuine file has confirmed either. */
export const GROUP_32 = new Struct({ name: nulPadded(GROUP_NAME_SIZE), position: u32, size: u32 })

/**
 * Before the data of a block. `nbytes` is its size in the file, `nbytesinmem` its size once decompressed, and `padsize` bytes
 * of no meaning follow, which align the data.
 */
export const BLOCK = new Struct({ nbytes: u64, nbytesinmem: u64, padsize: u16 })

/** The same in 32-bit checkpoints. */
export const BLOCK_32 = new Struct({ nbytes: u32, nbytesinmem: u32, padsize: u16 })

/** How a checkpoint lays out its records. */
export interface Layout {
  readonly group: typeof GROUP | typeof GROUP_32
  readonly block: typeof BLOCK | typeof BLOCK_32
}

/** What the magic says of a checkpoint, under the names of crash-utility. */
export interface Magic {
  readonly state: string
  /** The 32-bit layout. */
  readonly old: boolean
  /** What a reader of the evidence should be told. */
  readonly remark?: string
}

const OLD: Magic = {
  state: 'OLD',
  old: true,
  remark: 'the 32-bit layout, which is read by inference: no genuine file has confirmed it',
}

export const MAGICS: ReadonlyMap<number, Magic> = new Map([
  [0xbed0bed0, OLD],
  // How several readers spell OLD; no file of VMware's is known to have it.
  [0xbed2bed0, OLD],
  [0xbed2bed2, { state: 'NORMAL', old: false }],
  [0xbed3bed3, { state: 'PARTIAL', old: false, remark: 'a checkpoint that may not have been completed' }],
  [0xbad1bad1, { state: 'RESTORED', old: false, remark: 'a checkpoint from which the machine has been resumed' }],
  [0xbad2bad2, { state: 'NORESTORE', old: false, remark: 'a checkpoint that is not meant to be resumed' }],
])

/** Ends the tags of a group: flags and name length both zero. A zero flags byte with a name is an empty item. */
export const TERMINATOR = 0

/** Size of the word that begins a tag, and of each index. */
export const WORD_SIZE = 2
export const INDEX_SIZE = 4

/** VALSIZE of a block whose data is compressed, in a container that no public source describes. */
export const COMPRESSED_BLOCK = 62
/** VALSIZE of a plain block; every smaller one but 62 is the size of an inline value. */
export const PLAIN_BLOCK = 63

/** The word that begins a tag: VALSIZE in bits 0 to 5, NINDX in bits 6 and 7, NAMELEN in bits 8 to 15. */
export function decodeTagWord(word: number): { valsize: number; nindx: number; namelen: number } {
  return { valsize: word & 0x3f, nindx: (word >>> 6) & 3, namelen: word >>> 8 }
}
