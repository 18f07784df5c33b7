/** The list of faces: what each shows, what the model sees of it, and how it changed. */
import { CLASSES } from '../core/classes.mjs';
import { IMAGE_SIZE } from '../core/crop.mjs';
import { Curve } from './curve.mjs';
import { COLORS, colorOf, wordsOf } from './palette.mjs';

/** @typedef {import('../core/pipeline.mjs').Face} Face */

/** Stands behind what a face shows. */
const RESTING = { '': '', taking: ' (taking rest)', taken: ' (rest taken)' };

/** Seconds for which a face that is gone keeps its curve. */
const MEMORY = 2;

export class FaceList {
  /** @type {Map<number, FaceCard>} */
  #cards = new Map();

  /** @param {HTMLElement} list */
  constructor(list) {
    this.list = list;
  }

  /** Forgets all faces. */
  clear() {
    this.#cards.clear();
    this.list.replaceChildren();
  }

  /**
   * @param {Face[]} faces
   * @param {number | null} time In seconds; null for a picture that stands alone.
   */
  show(faces, time) {
    const shown = faces.map((face) => {
      const card = this.#cards.get(face.track) ?? new FaceCard(face.track);
      this.#cards.set(face.track, card);
      card.show(face, time);
      return card.element;
    });
    for (const [track, card] of this.#cards) {
      if (time !== null && time - card.seen > MEMORY) this.#cards.delete(track);
    }
    const isSame = shown.length === this.list.children.length && shown.every((item, i) => item === this.list.children[i]);
    if (!isSame) this.list.replaceChildren(...shown);
  }
}

class FaceCard {
  element = document.createElement('li');
  seen = 0;
  #title = document.createElement('h3');
  #crop = Object.assign(document.createElement('canvas'), { width: IMAGE_SIZE, height: IMAGE_SIZE, className: 'crop' });
  /** @type {{ bar: HTMLElement, text: HTMLElement }[]} */
  #rows = [];
  #curve = new Curve();

  /** @param {number} track */
  constructor(track) {
    this.#crop.setAttribute('role', 'img');
    this.#crop.setAttribute('aria-label', `What the model sees of face ${track}`);
    const table = document.createElement('dl');
    for (const name of CLASSES) {
      const term = Object.assign(document.createElement('dt'), { textContent: name });
      const value = document.createElement('dd');
      const bar = Object.assign(document.createElement('span'), { className: 'bar' });
      const text = document.createElement('span');
      bar.style.setProperty('--color', COLORS[name]);
      value.append(bar, text);
      table.append(term, value);
      this.#rows.push({ bar, text });
    }
    this.#curve.canvas.setAttribute('role', 'img');
    this.#curve.canvas.setAttribute('aria-label', `Expressions of face ${track} over the last ${this.#curve.seconds} seconds`);
    this.element.append(this.#title, this.#crop, table, this.#curve.canvas);
  }

  /**
   * @param {Face} face
   * @param {number | null} time
   */
  show(face, time) {
    this.#title.textContent = `Face ${face.track}: ${wordsOf(face)}${RESTING[face.resting]}`;
    this.element.style.setProperty('--color', colorOf(face));
    drawGray(this.#crop, face.crop);
    this.#rows.forEach(({ bar, text }, i) => {
      bar.style.setProperty('--share', String(face.probabilities[i]));
      text.textContent = `${Math.round(100 * face.probabilities[i])}%`;
    });
    this.#curve.canvas.hidden = time === null;
    if (time === null) return;
    this.seen = time;
    this.#curve.add(time, face.probabilities);
  }
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} pixels
 */
function drawGray(canvas, pixels) {
  const image = new ImageData(IMAGE_SIZE, IMAGE_SIZE);
  new Uint32Array(image.data.buffer).forEach((_, i, rgba) => (rgba[i] = (pixels[i] * 0x010101) | 0xff000000));
  canvas.getContext('2d')?.putImageData(image, 0, 0);
}
