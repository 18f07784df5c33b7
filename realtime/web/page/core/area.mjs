/** Reduces frames by area, with the arithmetic of `cv2.resize(…, interpolation=cv2.INTER_AREA)`. */

/**
 * @typedef {object} Image Pixels as a canvas gives them.
 * @property {Uint8ClampedArray | Uint8Array} data Red, green, blue and alpha of each pixel, row by row.
 * @property {number} width
 * @property {number} height
 */

/** Memory of the last result, for the next of its size: to get new memory takes longer than to fill it. */
let kept = new Uint8Array(0);

/**
 * Returns an image as the detector takes it. It lasts until the next call.
 *
 * @param {Image} image
 * @param {number} width Of the result; at most the image's.
 * @param {number} height
 * @returns {Uint8Array} [height, width, 3]: blue, green and red.
 */
export function reduceToBgr(image, width, height) {
  const across = image.width / width;
  const down = image.height / height;
  if (kept.length !== width * height * 3) kept = new Uint8Array(width * height * 3);
  if (across === 1 && down === 1) copyBgr(image, kept);
  else if (Number.isInteger(across) && Number.isInteger(down)) averageBlocks(image, across, down, kept);
  else averageAreas(image, width, height, kept);
  return kept;
}

/**
 * Takes four pixels at a time: four words become three.
 *
 * @param {Image} image
 * @param {Uint8Array} bgr
 */
function copyBgr(image, bgr) {
  const pixels = wordsOf(image);
  const words = new Uint32Array(bgr.buffer, 0, bgr.length >> 2);
  const inFours = pixels.length & ~3;
  for (let from = 0, to = 0; from < inFours; from += 4, to += 3) {
    const second = swapped(pixels[from + 1]);
    const third = swapped(pixels[from + 2]);
    words[to] = swapped(pixels[from]) | (second << 24);
    words[to + 1] = (second >>> 8) | (third << 16);
    words[to + 2] = (third >>> 16) | (swapped(pixels[from + 3]) << 8);
  }
  for (let from = inFours; from < pixels.length; from++) {
    const color = swapped(pixels[from]);
    for (let i = 0; i < 3; i++) bgr[3 * from + i] = color >>> (8 * i);
  }
}

/**
 * Returns each pixel as one number, which is read faster. Red is the lowest byte, as processors are little-endian.
 *
 * @param {Image} image
 */
export function wordsOf({ data, width, height }) {
  return new Uint32Array(data.buffer, data.byteOffset, width * height);
}

/**
 * @param {number} pixel Red in the lowest byte.
 * @returns {number} Blue in the lowest byte, and nothing in the highest.
 */
function swapped(pixel) {
  return ((pixel >>> 16) & 0xff) | (pixel & 0xff00) | ((pixel & 0xff) << 16);
}

/**
 * Averages whole blocks. OpenCV multiplies by the reciprocal in single precision, and adds half a unit for 2 × 2.
 *
 * @param {Image} image
 * @param {number} across Width of a block in pixels.
 * @param {number} down Its height.
 * @param {Uint8Array} bgr
 */
function averageBlocks({ data, width, height }, across, down, bgr) {
  const columns = width / across;
  const rows = height / down;
  const share = Math.fround(1 / (across * down));
  const isHalf = across === 2 && down === 2;
  let to = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, to += 3) {
      let blue = 0;
      let green = 0;
      let red = 0;
      for (let y = 0; y < down; y++) {
        const start = 4 * ((row * down + y) * width + column * across);
        for (let from = start; from < start + 4 * across; from += 4) {
          red += data[from];
          green += data[from + 1];
          blue += data[from + 2];
        }
      }
      bgr[to] = isHalf ? (blue + 2) >> 2 : rounded(Math.fround(blue * share));
      bgr[to + 1] = isHalf ? (green + 2) >> 2 : rounded(Math.fround(green * share));
      bgr[to + 2] = isHalf ? (red + 2) >> 2 : rounded(Math.fround(red * share));
    }
  }
}

/**
 * Averages areas that begin and end inside pixels: along each row first, then over the rows, in single precision.
 *
 * @param {Image} image
 * @param {number} width Of the result.
 * @param {number} height
 * @param {Uint8Array} bgr
 */
function averageAreas(image, width, height, bgr) {
  const columns = sharesOf(image.width, width);
  const rows = sharesOf(image.height, height);
  const reduced = new Float32Array(width * 3);
  const sums = new Float32Array(width * 3);
  for (let part = 0; part < rows.weights.length; part++) {
    reduced.fill(0);
    const line = 4 * image.width * rows.sources[part];
    for (let i = 0; i < columns.weights.length; i++) {
      const to = 3 * columns.targets[i];
      const from = line + 4 * columns.sources[i];
      const weight = columns.weights[i];
      reduced[to] += Math.fround(image.data[from + 2] * weight);
      reduced[to + 1] += Math.fround(image.data[from + 1] * weight);
      reduced[to + 2] += Math.fround(image.data[from] * weight);
    }
    const row = rows.targets[part];
    const weight = rows.weights[part];
    for (let i = 0; i < sums.length; i++) sums[i] += Math.fround(reduced[i] * weight);
    if (rows.targets[part + 1] !== row) {
      for (let i = 0; i < sums.length; i++) bgr[row * sums.length + i] = rounded(sums[i]);
      sums.fill(0);
    }
  }
}

/**
 * Rounds as `rint` does, faster, for numbers from 0 to 255.
 *
 * @param {number} value
 */
function rounded(value) {
  const nearest = (value + 0.5) | 0;
  return nearest - value === 0.5 ? nearest & ~1 : nearest;
}

/**
 * Returns which pixels make each pixel of a shorter line, and how much of it.
 *
 * @param {number} from Pixels of the line.
 * @param {number} to Pixels of the shorter one.
 */
function sharesOf(from, to) {
  const scale = from / to;
  const targets = [];
  const sources = [];
  const weights = [];
  for (let target = 0; target < to; target++) {
    const start = target * scale;
    const end = start + scale;
    const length = Math.min(scale, from - start);
    const last = Math.min(Math.floor(end), from - 1);
    const first = Math.min(Math.ceil(start), last);
    // Slivers of less than a thousandth of a pixel are left out, as in OpenCV.
    if (first - start > 1e-3) {
      targets.push(target);
      sources.push(first - 1);
      weights.push((first - start) / length);
    }
    for (let source = first; source < last; source++) {
      targets.push(target);
      sources.push(source);
      weights.push(1 / length);
    }
    if (end - last > 1e-3) {
      targets.push(target);
      sources.push(last);
      weights.push(Math.min(end - last, 1, length) / length);
    }
  }
  return { targets: Int32Array.from(targets), sources: Int32Array.from(sources), weights: Float32Array.from(weights) };
}
