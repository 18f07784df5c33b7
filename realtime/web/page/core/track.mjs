/** Gives each face a number that it keeps: `fer_tf.realtime.track`, with a detection in every frame. */

import { Past } from './answers.mjs';

/** @typedef {import('./detect.mjs').Detections} Detections */

/**
 * @typedef {object} Track
 * @property {number} id
 * @property {number[]} box Left, top, width and height in pixels of the frame where it was last seen.
 * @property {number} seen When it was last seen, in seconds of the tracker's clock.
 * @property {number[][] | null} places The landmarks, as shares of the box's width and height.
 * @property {Past} past What was said of it so far.
 */

/** How far a face may have moved, in sizes of its box: from one frame to the next, per second unseen, and at most. */
const REACH = 0.5;
const REACH_PER_SECOND = 2;
const LARGEST_REACH = 1.5;

/** Factor by which the size of a face may have changed. */
const LARGEST_GROWTH = 2;

/** Seconds for which a lost face keeps its number. */
const MEMORY = 0.8;

/** One for each stream. */
export class Tracker {
  /** @type {Track[]} */
  #visible = [];
  /** @type {Track[]} */
  #lost = [];
  #nextId = 0;
  #clock = 0;
  #time = Infinity;
  #width = 0;
  #height = 0;

  /**
   * Returns the tracks of the faces in the next frame, ordered by id.
   *
   * @param {Detections} found
   * @param {number} time In seconds. Time that goes backward counts as standing still.
   * @param {{ width: number, height: number }} size Of the frame, in pixels.
   * @returns {Track[]}
   */
  update(found, time, { width, height }) {
    if (time > this.#time) this.#clock += time - this.#time;
    this.#time = time;
    this.#fit(width, height);
    this.#match(found);
    return this.#visible;
  }

  /**
   * Scales all boxes if the size of the frame has changed.
   *
   * @param {number} width
   * @param {number} height
   */
  #fit(width, height) {
    if (width === this.#width && height === this.#height) return;
    const scale = [width / this.#width, height / this.#height];
    for (const track of [...this.#visible, ...this.#lost]) track.box = track.box.map((value, i) => value * scale[i % 2]);
    this.#width = width;
    this.#height = height;
  }

  /**
   * Assigns each box to a track, best pairs first, or starts a new track.
   *
   * @param {Detections} found
   */
  #match(found) {
    const boxes = found.boxes.map(([left, top, width, height]) => [left, top, Math.max(1, width), Math.max(1, height)]);
    const known = [...this.#visible, ...this.#lost.filter((track) => this.#clock - track.seen <= MEMORY)];
    const pairs = known.flatMap((track, row) =>
      boxes.map((box, column) => ({ track, column, cost: costOf(track, box, this.#clock) })),
    );
    pairs.sort((one, other) => (one.cost === other.cost ? 0 : one.cost - other.cost));
    /** @type {Map<number, Track>} */
    const matched = new Map();
    const taken = new Set();
    for (const { track, column, cost } of pairs) {
      if (cost === Infinity) break;
      if (matched.has(column) || taken.has(track)) continue;
      matched.set(column, track);
      taken.add(track);
    }
    this.#lost = known.filter((track) => !taken.has(track));
    const columns = [...boxes.keys()].sort((one, other) => compareBoxes(boxes[one], boxes[other]));
    for (const column of columns) {
      if (matched.has(column)) continue;
      const track = { id: this.#nextId++, box: boxes[column], seen: this.#clock, places: null, past: new Past() };
      matched.set(column, track);
    }
    for (const [column, track] of matched) {
      track.box = boxes[column];
      track.places = placesOf(found.landmarks?.[column], track.box);
      track.seen = this.#clock;
    }
    this.#visible = [...matched.values()].sort((one, other) => one.id - other.id);
  }
}

/**
 * @param {Track} track
 * @returns {number[][] | null} Its landmarks, in pixels of the frame.
 */
export function landmarksOf({ box: [left, top, width, height], places }) {
  return places && places.map(([x, y]) => [left + x * width, top + y * height]);
}

/**
 * @param {number[][] | undefined} landmarks
 * @param {number[]} box
 */
function placesOf(landmarks, [left, top, width, height]) {
  return landmarks ? landmarks.map(([x, y]) => [(x - left) / width, (y - top) / height]) : null;
}

/**
 * @param {Track} track
 * @param {number[]} box
 * @param {number} now
 * @returns {number} Infinite if the box cannot be this face.
 */
function costOf(track, [left, top, width, height], now) {
  const [trackLeft, trackTop, trackWidth, trackHeight] = track.box;
  const ours = Math.sqrt(Math.max(1, trackWidth * trackHeight));
  const theirs = Math.sqrt(Math.max(1, width * height));
  const across = trackLeft - left + (trackWidth - width) / 2;
  const down = trackTop - top + (trackHeight - height) / 2;
  const distance = Math.hypot(across, down) / ours;
  const sharedWidth = Math.min(trackLeft + trackWidth, left + width) - Math.max(trackLeft, left);
  const sharedHeight = Math.min(trackTop + trackHeight, top + height) - Math.max(trackTop, top);
  const shared = Math.max(0, sharedWidth) * Math.max(0, sharedHeight);
  const overlap = shared / (ours ** 2 + theirs ** 2 - shared);
  const isNear = distance <= Math.min(LARGEST_REACH, REACH + REACH_PER_SECOND * (now - track.seen));
  const isAlike = Math.abs(Math.log(theirs / ours)) <= Math.log(LARGEST_GROWTH);
  return isNear && isAlike ? distance + 1 - overlap : Infinity;
}

/**
 * @param {number[]} one
 * @param {number[]} other
 */
function compareBoxes(one, other) {
  const i = one.findIndex((value, place) => value !== other[place]);
  return i < 0 ? 0 : one[i] - other[i];
}
