/** Resizes gray squares as `fer_tf.realtime.crop.resample` does: weighted sums of whole numbers, divided once. */
import { clamp } from './arithmetic.mjs';

/**
 * Resizes a square: by area to shrink, by cubic interpolation to enlarge. Halves are rounded up.
 *
 * @param {Uint8Array} square [side, side]
 * @param {number} side
 * @param {number} size Side of the result.
 * @returns {Uint8Array} [size, size]
 */
export function resample(square, side, size) {
  if (side === size) return square;
  const sums = side > size ? areaSums(square, side, size) : cubicSums(square, side, size);
  const total = side > size ? side * side : (4 * (2 * size) ** 3) ** 2;
  const resized = new Uint8Array(size * size);
  for (let i = 0; i < resized.length; i++) resized[i] = clamp((2 * sums[i] + total) / (2 * total), 0, 255);
  return resized;
}

/**
 * Adds up what each new pixel covers: the rows of a new line first, then along it. In units of 1/size of a pixel, an old
 * one is `size` long, and a new one `side`, so an old one reaches into two new ones at most.
 *
 * @param {Uint8Array} square
 * @param {number} side
 * @param {number} size
 */
function areaSums(square, side, size) {
  const sums = new Float64Array(size * size);
  const columns = new Int32Array(side);
  const addRow = (/** @type {number} */ y, /** @type {number} */ share) => {
    for (let x = 0, from = y * side; x < side; x++, from++) columns[x] += share * square[from];
  };
  for (let line = 0, y = 0; line < size; line++) {
    const end = Math.floor(((line + 1) * side) / size);
    const share = (line + 1) * side - end * size; // of the row that reaches into the next line
    while (y < end) addRow(y++, size);
    if (share) addRow(y, share);
    addAlong(columns, sums.subarray(line * size, (line + 1) * size));
    columns.fill(0);
    if (share) addRow(y++, size - share);
  }
  return sums;
}

/**
 * @param {Int32Array} columns
 * @param {Float64Array} line What each pixel of a line covers of the columns is added to it.
 */
function addAlong(columns, line) {
  const size = line.length;
  for (let i = 0, x = 0; i < size; i++) {
    const end = Math.floor(((i + 1) * columns.length) / size);
    let whole = 0;
    while (x < end) whole += columns[x++];
    line[i] += size * whole;
    const share = (i + 1) * columns.length - end * size; // of the column that reaches into the next pixel
    if (share) {
      line[i] += share * columns[x];
      line[i + 1] += (size - share) * columns[x++];
    }
  }
}

/**
 * @param {Uint8Array} square
 * @param {number} side
 * @param {number} size
 */
function cubicSums(square, side, size) {
  const taps = Array.from({ length: size }, (_, i) => tapsOf(i, side, size));
  const tall = new Float64Array(size * side);
  taps.forEach(({ places, weights }, row) => {
    for (let x = 0; x < side; x++) {
      for (let tap = 0; tap < 4; tap++) tall[row * side + x] += weights[tap] * square[places[tap] * side + x];
    }
  });
  const sums = new Float64Array(size * size);
  for (let row = 0; row < size; row++) {
    taps.forEach(({ places, weights }, column) => {
      for (let tap = 0; tap < 4; tap++) sums[row * size + column] += weights[tap] * tall[row * side + places[tap]];
    });
  }
  return sums;
}

/**
 * Returns the four pixels around a new one, the border repeated, and the weight of each, times 4 (2 size)³.
 *
 * R. G. Keys: Cubic Convolution Interpolation for Digital Image Processing, 1981; with a slope of -3/4.
 *
 * @param {number} index
 * @param {number} side
 * @param {number} size
 */
function tapsOf(index, side, size) {
  const unit = 2 * size;
  const center = (2 * index + 1) * side - size; // in parts of `unit` of a pixel
  const places = [-1, 0, 1, 2].map((tap) => Math.floor(center / unit) + tap);
  const weights = places.map((place) => {
    const d = Math.abs(center - place * unit);
    return d <= unit
      ? 5 * d ** 3 - 9 * unit * d ** 2 + 4 * unit ** 3
      : -3 * d ** 3 + 15 * unit * d ** 2 - 24 * unit ** 2 * d + 12 * unit ** 3;
  });
  return { places: places.map((place) => clamp(place, 0, side - 1)), weights };
}
