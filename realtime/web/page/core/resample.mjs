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
  return Uint8Array.from(sums, (sum) => Math.floor(clamp((2 * sum + total) / (2 * total), 0, 255)));
}

/**
 * Adds up what each new pixel covers. In units of 1/size of a pixel, an old one is `size` long, and a new one `side`,
 * so an old one reaches into two new ones at most.
 *
 * @param {Uint8Array} square
 * @param {number} side
 * @param {number} size
 */
function areaSums(square, side, size) {
  const target = new Int32Array(side);
  const inside = new Int32Array(side); // how much of it lies in the target; the rest is in the one after
  for (let i = 0; i < side; i++) {
    target[i] = Math.floor((i * size) / side);
    inside[i] = Math.min(size, (target[i] + 1) * side - i * size);
  }
  const sums = new Float64Array(size * size);
  const row = new Float64Array(size + 1);
  for (let y = 0; y < side; y++) {
    row.fill(0);
    for (let x = 0; x < side; x++) {
      const value = square[y * side + x];
      row[target[x]] += inside[x] * value;
      row[target[x] + 1] += (size - inside[x]) * value;
    }
    const line = target[y] * size;
    const below = size - inside[y];
    for (let i = 0; i < size; i++) {
      sums[line + i] += inside[y] * row[i];
      if (below) sums[line + size + i] += below * row[i];
    }
  }
  return sums;
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
