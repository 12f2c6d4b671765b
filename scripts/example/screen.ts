/** The screen of the example, once as the text that lies in video memory and once as the PNG of a thumbnail. */
import { deflateSync } from 'node:zlib'

const WIDTH = 640
const HEIGHT = 360
const BLACK = 0
const GREY = 7
const CYAN = 11

/** The lines of an 80 by 25 text screen. */
export const SCREEN_LINES: readonly string[] = [
  '',
  '  C:\\>VER',
  '',
  '  VMSSFS EXAMPLE 1.0',
  '',
  '  C:\\>TYPE LETTER.TXT',
  '',
  '  DEAR EXAMINER,',
  '',
  '  BY THE TIME YOU READ THIS I AM SUSPENDED.',
  '  LOOK FOR ME AT 1 MIB, AND BEYOND 4 GIB.',
  '',
  '  C:\\>_',
  ...Array<string>(12).fill(''),
]

/** A PNG of 640 by 360 pixels in the 16 colours of a text screen. */
export function drawScreen(): Uint8Array {
  const pixels = new Uint8Array(WIDTH * HEIGHT).fill(BLACK)
  for (const [row, line] of SCREEN_LINES.entries()) {
    drawText(pixels, line, 0, row * 12 + 6, 2, GREY)
  }
  drawText(pixels, 'VMSSFS', 64, 220, 18, CYAN)
  for (let colour = 0; colour < PALETTE.length; colour++) {
    fillBox(pixels, colour * 40, 332, 40, 28, colour)
  }
  return encodePng(pixels)
}

/** A cell is 4 by 6 dots of `scale` pixels, of which a letter takes 3 by 5. */
function drawText(pixels: Uint8Array, line: string, x: number, y: number, scale: number, colour: number): void {
  for (const [column, letter] of [...line].entries()) {
    for (const [dotRow, octal] of [...(FONT.get(letter) ?? '')].entries()) {
      for (let dot = 0; dot < 3; dot++) {
        if (Number(octal) & (4 >> dot)) {
          fillBox(pixels, x + (column * 4 + dot) * scale, y + dotRow * scale, scale, scale, colour)
        }
      }
    }
  }
}

function fillBox(pixels: Uint8Array, x: number, y: number, width: number, height: number, colour: number): void {
  for (let row = y; row < y + height; row++) {
    pixels.fill(colour, row * WIDTH + x, row * WIDTH + x + width)
  }
}

function encodePng(pixels: Uint8Array): Uint8Array {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(WIDTH, 0)
  header.writeUInt32BE(HEIGHT, 4)
  header.set([8, 3, 0, 0, 0], 8) // 8 bits a pixel, by palette; deflate; no filters; not interlaced
  const rows = Buffer.alloc((WIDTH + 1) * HEIGHT)
  for (let y = 0; y < HEIGHT; y++) {
    rows.set(pixels.subarray(y * WIDTH, (y + 1) * WIDTH), y * (WIDTH + 1) + 1)
  }
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('PLTE', Buffer.from(PALETTE.join(''), 'hex')),
    chunk('IDAT', deflateSync(rows, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const body = Buffer.concat([Buffer.from(type), data])
  const size = Buffer.alloc(4)
  size.writeUInt32BE(data.length)
  const check = Buffer.alloc(4)
  check.writeUInt32BE(crc32(body))
  return Buffer.concat([size, body, check])
}

// node:zlib has this from Node 20.15 on only.
function crc32(bytes: Uint8Array): number {
  let remainder = 0xffffffff
  for (const byte of bytes) {
    remainder ^= byte
    for (let bit = 0; bit < 8; bit++) {
      remainder = (remainder >>> 1) ^ (remainder & 1 ? 0xedb88320 : 0)
    }
  }
  return ~remainder >>> 0
}

const PALETTE =
  '000000 0000aa 00aa00 00aaaa aa0000 aa00aa aa5500 aaaaaa 555555 5555ff 55ff55 55ffff ff5555 ff55ff ffff55 ffffff'.split(
    ' ',
  )

/** Letters of 3 by 5 dots: an octal digit a row, its bits from left to right. */
const FONT = new Map(
  (
    'A25755 B65656 C34443 D65556 E74647 F74644 G34553 H55755 I72227 J11152 K55655 L44447 M57755 N65555 O25552 P65644 ' +
    'Q25563 R65655 S34216 T72222 U55557 V55552 W55775 X55255 Y55222 Z71247 075557 126227 261247 361216 455711 574616 ' +
    '634757 771222 875757 975716 .00002 :02020 ,00024 _00007 >42124 \\44211'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 1), entry.slice(1)]),
)
