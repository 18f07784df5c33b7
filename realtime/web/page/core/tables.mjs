/** Tables of readings, in the formats of `fer_tf.realtime.tables`, to the letter. */
import { fixed } from './arithmetic.mjs';
import { CLASSES } from './classes.mjs';

/** @typedef {import('./pipeline.mjs').Face} Face */

/**
 * @typedef {object} Entry What was found in a frame.
 * @property {string} source Name of the file or camera.
 * @property {number} time In seconds, from the first frame.
 * @property {number} frame Number of the frame.
 * @property {string} model Name of the model.
 * @property {Omit<Face, 'crop' | 'resting'>[]} faces
 */

/** Columns of the CSV file. */
export const COLUMNS = [
  ...['source', 'time_s', 'frame', 'face', 'x', 'y', 'width', 'height', 'model', 'expression', 'confidence'],
  ...CLASSES.map((name) => `p_${name}`),
  ...CLASSES.map((name) => `raw_${name}`),
  'shown',
];

/**
 * @param {Iterable<Entry>} entries
 * @returns {string} CSV with a row for each face.
 */
export function toCsv(entries) {
  const lines = [COLUMNS.join(',')];
  for (const { source, time, frame, model, faces } of entries) {
    for (const face of faces) {
      const place = [quoted(toCell(source)), fixed(time, 3), frame, face.track, ...face.box];
      const numbers = [face.confidence, ...face.probabilities, ...face.raw].map((value) => fixed(value, 4));
      lines.push([...place, quoted(toCell(model)), face.label, ...numbers, face.shown].join(','));
    }
  }
  return `${lines.join('\n')}\n`;
}

/**
 * @param {Iterable<Entry>} entries
 * @returns {string} JSON Lines with an object for each frame, even without faces.
 */
export function toJsonLines(entries) {
  return Array.from(entries, (entry) => `${lineOf(entry)}\n`).join('');
}

/**
 * Text for a cell that a spreadsheet shows and does not run: with a ' in front if need be.
 *
 * @param {string} text
 */
export function toCell(text) {
  const shown = text.includes('\r') && !text.includes('\n') ? text.replaceAll('\r', '\\r') : text;
  return /^[=+\-@\t\r\n']/.test(shown) ? `'${shown}` : shown;
}

/**
 * A name on one line: control characters, and those that change the direction of writing, become escape sequences.
 *
 * @param {string} text
 */
export function printable(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (character) => {
    const named = { '\t': '\\t', '\n': '\\n', '\r': '\\r' }[character];
    if (named) return named;
    const code = /** @type {number} */ (character.codePointAt(0));
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`;
    return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\U${code.toString(16).padStart(8, '0')}`;
  });
}

/** @param {string} cell */
function quoted(cell) {
  return /[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

/** @param {Entry} entry */
function lineOf({ source, time, frame, model, faces }) {
  const described = faces.map((face) =>
    object({
      face: String(face.track),
      box: list(face.box.map(String)),
      certain: String(face.certain),
      readings: list([
        object({
          model: JSON.stringify(model),
          expression: JSON.stringify(face.label),
          shown: JSON.stringify(face.shown),
          confidence: number(face.confidence, 4),
          probabilities: byClass(face.probabilities),
          raw: byClass(face.raw),
        }),
      ]),
    }),
  );
  return object({
    source: JSON.stringify(source),
    time_s: number(time, 3),
    frame: String(frame),
    faces: list(described),
  });
}

/** @param {ArrayLike<number>} probabilities */
function byClass(probabilities) {
  return object(Object.fromEntries(CLASSES.map((name, i) => [name, number(probabilities[i], 4)])));
}

/**
 * @param {number} value
 * @param {number} digits
 * @returns {string} The rounded number as Python writes it, with a point even if it is whole.
 */
function number(value, digits) {
  const text = String(Number(fixed(value, digits)));
  return text.includes('.') ? text : `${text}.0`;
}

/** @param {string[]} items */
const list = (items) => `[${items.join(', ')}]`;

/** @param {Record<string, string>} fields Values as JSON. */
const object = (fields) => `{${Object.entries(fields).map(([key, value]) => `"${key}": ${value}`).join(', ')}}`;
