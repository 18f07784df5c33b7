/** Where frames come from: camera, videos and pictures. Errors are sentences for the user. */
import { printable } from '../core/tables.mjs';
import { pixelsOf } from './pixels.mjs';

/** @typedef {import('../core/area.mjs').Image} Image */

/**
 * @typedef {object} Frame
 * @property {Image} image
 * @property {number} time In seconds, from the first frame.
 * @property {number} index Number of the frame, from 0.
 * @property {number} [done] Which part of the source is done, 0 to 1.
 */

/**
 * @typedef {object} Source
 * @property {string} name As tables call it.
 * @property {'camera' | 'video' | 'picture'} kind
 * @property {(signal: AbortSignal, due: () => Promise<void>) => AsyncGenerator<Frame>} frames Ends when the signal says
 *   so. What is live is taken when it is due, to be new.
 * @property {File} [file] That of a picture.
 */

/** Milliseconds after a seek by which its frame is shown; none is where the video was there already. */
const LATEST_FRAME = 300;

/** @type {Record<string, string>} */
const CAMERA_ERRORS = {
  NotAllowedError: 'The camera was not allowed. Allow it beside the address bar, or open files.',
  NotFoundError: 'There is no camera. Connect one, or open files.',
  NotReadableError: 'The camera is in use by another program. Close that, and start again.',
  OverconstrainedError: 'This camera is gone. Choose another in the settings.',
};

/**
 * @param {string} deviceId Empty for the default.
 * @param {AbortSignal} signal
 * @param {() => boolean} isMirrored
 * @returns {Promise<Source & { cameras: MediaDeviceInfo[], deviceId: string }>} With all cameras there are.
 */
export async function openCamera(deviceId, signal, isMirrored) {
  if (!navigator.mediaDevices) throw new Error('The camera needs https, or this machine’s own address. Open files.');
  const size = { width: { ideal: 640 }, height: { ideal: 480 } };
  const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: 'user' };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...size, ...which } });
  } catch (error) {
    const name = error instanceof Error ? error.name : 'Error';
    throw new Error(CAMERA_ERRORS[name] ?? `The camera could not be opened (${name}).`);
  }
  const [track] = stream.getVideoTracks();
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === 'videoinput');
  if (signal.aborted) track.stop();
  const used = track.getSettings().deviceId ?? '';
  const number = Math.max(0, cameras.findIndex((camera) => camera.deviceId === used));
  /** @type {Source['frames']} */
  const frames = (_, due) => cameraFrames(stream, signal, isMirrored, due);
  return { name: `camera ${number}`, kind: 'camera', frames, cameras, deviceId: used };
}

/**
 * Yields the newest frame whenever one is due, and each only once.
 *
 * @param {MediaStream} stream
 * @param {AbortSignal} signal
 * @param {() => boolean} isMirrored
 * @param {() => Promise<void>} due
 * @returns {AsyncGenerator<Frame>}
 */
async function* cameraFrames(stream, signal, isMirrored, due) {
  const [track] = stream.getVideoTracks();
  const video = makeVideo();
  video.srcObject = stream;
  /** @type {{ now: number, count: number } | null} */
  let newest = null;
  let wake = () => {};
  let handle = 0;
  /** @type {VideoFrameRequestCallback} */
  const onFrame = (now, { presentedFrames }) => {
    newest = { now, count: presentedFrames };
    wake();
    handle = video.requestVideoFrameCallback(onFrame);
  };
  const end = () => wake();
  track.addEventListener('ended', end);
  signal.addEventListener('abort', end);
  try {
    handle = video.requestVideoFrameCallback(onFrame);
    await video.play();
    /** @type {{ now: number, count: number } | null} */
    let first = null;
    while (!signal.aborted) {
      await due();
      if (!newest && track.readyState === 'live') await new Promise((resolve) => (wake = () => resolve(undefined)));
      if (signal.aborted) return;
      if (track.readyState === 'ended') throw new Error('The camera stopped. Start it again.');
      if (!newest) continue;
      const { now, count } = newest;
      newest = null;
      first ??= { now, count };
      const image = pixelsOf(video, video.videoWidth, video.videoHeight, isMirrored());
      yield { image, time: (now - first.now) / 1000, index: count - first.count };
    }
  } finally {
    video.cancelVideoFrameCallback(handle);
    track.removeEventListener('ended', end);
    signal.removeEventListener('abort', end);
    for (const each of stream.getTracks()) each.stop();
    video.srcObject = null;
  }
}

/**
 * @param {File} file
 * @param {number} rate How many frames of each second are taken.
 * @returns {Source}
 */
export function openVideo(file, rate) {
  const name = printable(file.name);
  return { name, kind: 'video', frames: (signal) => videoFrames(file, name, rate, signal) };
}

/**
 * Goes from frame to frame by seeking, so that no frame depends on how fast this machine is.
 *
 * @param {File} file
 * @param {string} name
 * @param {number} rate
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Frame>}
 */
async function* videoFrames(file, name, rate, signal) {
  const video = makeVideo();
  const url = URL.createObjectURL(file);
  /**
   * Does something, and waits for an event, or for the signal.
   *
   * @param {() => void} act
   * @param {string} event
   */
  const after = (act, event) =>
    new Promise((resolve, reject) => {
      const settled = new AbortController();
      const once = { signal: settled.signal };
      const settle = (/** @type {() => void} */ how) => {
        settled.abort();
        how();
      };
      const error = new Error(`${name}: this browser cannot play it. Try MP4 (H.264) or WebM.`);
      video.addEventListener(event, () => settle(() => resolve(undefined)), once);
      video.addEventListener('error', () => settle(() => reject(error)), once);
      signal.addEventListener('abort', () => settle(() => resolve(undefined)), once);
      act();
    });
  try {
    await after(() => (video.src = url), 'loadeddata');
    if (!signal.aborted && !video.videoWidth) throw new Error(`${name}: has no picture, only sound.`);
    // Recordings of browsers do not say how long they are until their end was looked for.
    if (video.duration === Infinity) await after(() => (video.currentTime = 1e7), 'seeked');
    let first = NaN;
    let last = NaN;
    for (let step = 0, index = 0; step / rate < video.duration && !signal.aborted; step++) {
      const shown = nextFrameTime(video);
      await after(() => (video.currentTime = step / rate), 'seeked');
      if (signal.aborted) return;
      const time = await shown;
      if (time === last) continue; // the file has fewer frames than are asked for
      if (index === 0) first = time;
      last = time;
      const image = pixelsOf(video, video.videoWidth, video.videoHeight);
      yield { image, time: time - first, index: index++, done: video.currentTime / video.duration };
    }
  } finally {
    video.removeAttribute('src');
    video.load();
    URL.revokeObjectURL(url);
  }
}

/**
 * @param {HTMLVideoElement} video
 * @returns {Promise<number>} The timestamp of the next frame that it shows, in seconds.
 */
function nextFrameTime(video) {
  return new Promise((resolve) => {
    const handle = video.requestVideoFrameCallback((_, { mediaTime }) => resolve(mediaTime));
    const settle = () => {
      video.cancelVideoFrameCallback(handle);
      resolve(video.currentTime);
    };
    video.addEventListener('seeked', () => setTimeout(settle, LATEST_FRAME), { once: true });
  });
}

/**
 * @param {File} file
 * @returns {Source}
 */
export function openPicture(file) {
  const name = printable(file.name);
  return {
    name,
    kind: 'picture',
    file,
    async *frames() {
      yield { image: await readPicture(file, name), time: 0, index: 0 };
    },
  };
}

/**
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<Image>}
 */
export async function readPicture(file, name) {
  // Colors as they are in the file, as Python reads them; turned upright as EXIF says.
  const options = /** @type {const} */ ({ colorSpaceConversion: 'none', imageOrientation: 'from-image' });
  const bitmap = await createImageBitmap(file, options).catch(() => {
    throw new Error(`${name}: is no picture that this browser can read; it may be damaged.`);
  });
  try {
    return pixelsOf(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

function makeVideo() {
  return Object.assign(document.createElement('video'), { muted: true, playsInline: true, preload: 'auto' });
}
