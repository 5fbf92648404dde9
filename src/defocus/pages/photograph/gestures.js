// Fingers, pens and mice on an element: pressing, dragging, pinching and the wheel, told alike wherever they are used.

const STILL = 4; // px within which a press is a tap

// `does` has drag(dx, dy, event) and pinch(factor, event), and may have accepts(): whether anything is begun; press(event,
// fingers); release(event), which returns true where the end of a press was all that was meant; tap(event) and wheel(deltaY,
// event).
export function onGestures(place, does) {
  const fingers = new Map();
  let moved = false;
  place.addEventListener('pointerdown', event => {
    // Other buttons open a menu, which swallows the end of what they begin.
    if (event.button || does.accepts?.() === false) return;
    place.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    moved = fingers.size > 1;
    does.press?.(event, fingers.size);
  });
  place.addEventListener('pointermove', event => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const apart = from => Math.hypot(from[0] - other[0], from[1] - other[1]) || 1;
      does.pinch(apart(now) / apart(before), event);
    } else if (fingers.size === 1) {
      if (!moved && Math.hypot(now[0] - before[0], now[1] - before[1]) <= STILL) return;
      moved = true;
      does.drag(now[0] - before[0], now[1] - before[1], event);
    }
    fingers.set(event.pointerId, now); // where only one is left, it goes on from here
  });
  for (const ended of ['pointerup', 'pointercancel']) {
    place.addEventListener(ended, event => {
      if (!fingers.delete(event.pointerId)) return;
      if (does.release?.(event) || moved || ended === 'pointercancel') return;
      does.tap?.(event);
    });
  }
  place.addEventListener('wheel', event => {
    event.preventDefault();
    does.wheel?.(event.deltaY, event);
  }, {passive: false});
}
