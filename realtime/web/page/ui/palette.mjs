/** The colors of Okabe and Ito (2008), which is safe for color-blind viewers. The name is always written, too. */
import { CLASSES } from '../core/classes.mjs';

/** @type {Record<string, string>} */
export const COLORS = {
  angry: '#d55e00',
  disgust: '#009e73',
  fear: '#cc79a7',
  happy: '#f0e442',
  neutral: '#56b4e9',
  sad: '#0072b2',
  surprise: '#e69f00',
};

export const UNCERTAIN_COLOR = '#b9b9b9';

/** @typedef {import('../core/pipeline.mjs').Face} Face */

/** @param {Face} face */
export function colorOf({ certain, shown }) {
  return certain ? COLORS[shown] : UNCERTAIN_COLOR;
}

/**
 * @param {Face} face
 * @returns {string} What the face shows, as it is written beside it.
 */
export function wordsOf({ certain, shown, probabilities }) {
  return certain ? `${shown} ${Math.round(100 * probabilities[CLASSES.indexOf(shown)])}%` : shown;
}

/**
 * @param {string} color As `#rrggbb`.
 * @returns {string} Black or white, whichever is read better on it.
 */
export function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 110 ? '#000' : '#fff';
}

