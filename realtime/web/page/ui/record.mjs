/** Keeps what was found, for the tables. */

/** @typedef {import('../core/tables.mjs').Entry} Entry */

/** Most frames that are kept: two hours at twenty-five a second. */
const MOST = 180_000;

export class Record {
  /** @type {Entry[]} */
  entries = [];
  faces = 0;

  /**
   * @param {Entry} entry
   * @returns {boolean} Whether it was kept; false if there are too many.
   */
  add(entry) {
    if (this.entries.length >= MOST) return false;
    this.entries.push(entry);
    this.faces += entry.faces.length;
    return true;
  }

  clear() {
    this.entries = [];
    this.faces = 0;
  }

  /** @returns {string} A sentence. */
  get summary() {
    const { length } = this.entries;
    if (!length) return '';
    const full = length >= MOST ? ' The table is full: save it, and clear it.' : '';
    return `${count(length, 'frame')} and ${count(this.faces, 'face')} in the table.${full}`;
  }
}

/**
 * @param {number} number
 * @param {string} thing
 */
export function count(number, thing) {
  return `${number.toLocaleString('en-US')} ${thing}${number === 1 ? '' : 's'}`;
}
