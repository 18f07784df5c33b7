/** Face crops, to the gray level those of `fer_tf.realtime.crop`: whole numbers, or float64, in the same order. */
import { wordsOf } from './area.mjs';
import { clamp } from './arithmetic.mjs';
import { resample } from './resample.mjs';

/** @typedef {import('./area.mjs').Image} Image */

/** Side of a crop in pixels. */
export const IMAGE_SIZE = 48;

/** Tilt in degrees up to which faces are left as they are. */
const LEAST_TILT = 10;

/** Side in pixels to which larger squares are reduced, by a whole factor, before they are turned. */
const TURNED_SIDE = 2 * IMAGE_SIZE;

/**
 * Crops a face: the square around the center of its box, and as high as the box. A face whose eye line is tilted is
 * turned level around that center. Beyond the frame, the border of the frame is repeated.
 *
 * @param {Image} image
 * @param {number[]} box Left, top, width and height in whole pixels.
 * @param {number[][] | null} landmarks Five points, in pixels; null leaves the face as it is.
 * @returns {Uint8Array} [48, 48], gray.
 */
export function cropFace(image, [boxLeft, top, width, height], landmarks = null) {
  const side = Math.max(1, height);
  const left = boxLeft + Math.floor((width - side) / 2);
  const [cosine, sine] = landmarks ? directionOf(landmarks) : [1, 0];
  if (sine === 0) return resample(graySquare(image, left, top, side), side, IMAGE_SIZE);
  const turned = turnedSquare(image, left, top, side, cosine, sine);
  return resample(turned.pixels, turned.side, IMAGE_SIZE);
}

/**
 * @param {number[][]} landmarks
 * @returns {number[]} Cosine and sine of the angle to turn a face by; 1 and 0 to leave it.
 */
function directionOf([first, second]) {
  const right = second[0] - first[0];
  const down = second[1] - first[1];
  const length = Math.sqrt(right * right + down * down);
  // The detector finds no faces that lie on the side or upside down, so such eyes are an error.
  const isTilted = right > 0 && Math.abs(down) > length * Math.sin((LEAST_TILT * Math.PI) / 180);
  return isTilted ? [right / length, down / length] : [1, 0];
}

/**
 * @param {Image} image
 * @param {number} left
 * @param {number} top
 * @param {number} side
 * @returns {Uint8Array} [side, side], gray.
 */
function graySquare(image, left, top, side) {
  const pixels = wordsOf(image);
  const columns = new Int32Array(side).map((_, i) => clamp(left + i, 0, image.width - 1));
  const square = new Uint8Array(side * side);
  for (let row = 0, to = 0; row < side; row++) {
    const line = clamp(top + row, 0, image.height - 1) * image.width;
    for (let i = 0; i < side; i++, to++) {
      const pixel = pixels[line + columns[i]];
      const [red, green, blue] = [pixel & 0xff, (pixel >>> 8) & 0xff, (pixel >>> 16) & 0xff];
      square[to] = (3735 * blue + 19235 * green + 9798 * red + 16384) >> 15;
    }
  }
  return square;
}

/**
 * Turns a square around its center, with bilinear interpolation. The upright square around it is first averaged over
 * blocks of factor × factor pixels.
 *
 * @param {Image} image
 * @param {number} left
 * @param {number} top
 * @param {number} side
 * @param {number} cosine
 * @param {number} sine
 */
function turnedSquare(image, left, top, side, cosine, sine) {
  const factor = Math.max(1, Math.floor(side / TURNED_SIDE));
  const count = Math.max(1, Math.floor(side / factor));
  const reach = Math.floor((count * 3) / 4) + 2; // half of the upright square, in blocks
  const startX = Math.floor((2 * left + side - 2 * reach * factor) / 2);
  const startY = Math.floor((2 * top + side - 2 * reach * factor) / 2);
  const stride = 2 * reach;
  const around = averagedBlocks(graySquare(image, startX, startY, stride * factor), stride, factor);
  const middleX = (left + side / 2 - startX) / factor - 0.5;
  const middleY = (top + side / 2 - startY) / factor - 0.5;
  const step = side / factor / count;
  const pixels = new Uint8Array(count * count);
  for (let row = 0; row < count; row++) {
    const offsetY = (row - (count - 1) / 2) * step;
    for (let column = 0; column < count; column++) {
      const offsetX = (column - (count - 1) / 2) * step;
      const x = middleX + cosine * offsetX - sine * offsetY;
      const y = middleY + sine * offsetX + cosine * offsetY;
      const right = x - Math.floor(x);
      const down = y - Math.floor(y);
      const place = Math.floor(y) * stride + Math.floor(x);
      const upper = around[place] + right * (around[place + 1] - around[place]);
      const lower = around[place + stride] + right * (around[place + stride + 1] - around[place + stride]);
      pixels[row * count + column] = Math.floor(upper + down * (lower - upper) + 0.5);
    }
  }
  return { pixels, side: count };
}

/**
 * @param {Uint8Array} pixels [count · factor, count · factor]
 * @param {number} count
 * @param {number} factor
 * @returns {Uint8Array} [count, count]: means, rounded half up.
 */
function averagedBlocks(pixels, count, factor) {
  if (factor === 1) return pixels;
  const area = factor * factor;
  const means = new Uint8Array(count * count);
  const sums = new Int32Array(count);
  for (let row = 0, from = 0; row < count; row++) {
    sums.fill(0);
    for (let y = 0; y < factor; y++) {
      for (let column = 0; column < count; column++) {
        for (let x = 0; x < factor; x++, from++) sums[column] += pixels[from];
      }
    }
    for (let column = 0; column < count; column++) means[row * count + column] = (2 * sums[column] + area) / (2 * area);
  }
  return means;
}
