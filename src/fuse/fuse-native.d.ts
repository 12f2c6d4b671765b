/** What we use of the package fuse-native 2.2.6, which brings no types. */
declare module 'fuse-native' {
  export interface Stat {
    mode: number
    ino: number
    nlink: number
    uid: number
    gid: number
    size: number
    blocks: number
    blksize: number
    mtime: Date
    atime: Date
    ctime: Date
  }

  export interface Handlers {
    getattr(path: string, reply: (error: number, stat?: Stat) => void): void
    readdir(path: string, reply: (error: number, names?: string[], stats?: Partial<Stat>[]) => void): void
    readlink(path: string, reply: (error: number, target?: string) => void): void
    getxattr(path: string, name: string, position: number, reply: (error: number, value?: Buffer) => void): void
    listxattr(path: string, reply: (error: number, names?: string[]) => void): void
    open(path: string, flags: number, reply: (error: number, handle?: number) => void): void
    read(
      path: string,
      handle: number,
      target: Buffer,
      size: number,
      offset: number,
      reply: (countOrError: number) => void,
    ): void
  }

  export interface Options {
    fsname: string
    /** Milliseconds until a request is answered with ETIMEDOUT; `false`: never. */
    timeout: false
  }

  export default class Fuse {
    constructor(mountpoint: string, handlers: Handlers, options: Options)
    mount(callback: (error: Error | null) => void): void
  }
}
