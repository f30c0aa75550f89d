package device

import "errors"

// Graph is recorded work that can be queued again as a whole.
type Graph struct {
	d *Device
	h handle
}

// Capture records the work that f queues instead of running it. Kernels that f launches must have been compiled, and
// f must neither take memory nor wait: run it once before.
func (d *Device) Capture(f func()) (*Graph, error) {
	began := false
	d.do(func() error {
		err := d.drv.beginCapture()
		began = err == nil
		d.capturing = began
		return err
	})
	f()
	g := &Graph{d: d}
	d.mu.Lock()
	if began { // also after a failure, so that the queue does not stay in this state
		h, err := d.drv.endCapture()
		d.capturing, g.h = false, h
		if d.err == nil {
			d.err = err
		}
	}
	d.mu.Unlock()
	if err := d.Err(); err != nil {
		return nil, err
	}
	return g, nil
}

// Launch queues the recorded work.
func (g *Graph) Launch() { g.d.do(func() error { return g.d.drv.replay(g.h) }) }

// Close forgets the recording.
func (g *Graph) Close() { g.d.do(func() error { return g.d.drv.freeGraph(g.h) }) }

// Event is a point in the queue.
type Event struct {
	d *Device
	h handle
}

// NewEvent makes an event.
func (d *Device) NewEvent() *Event {
	e := &Event{d: d}
	d.do(func() (err error) { e.h, err = d.drv.newEvent(); return err })
	return e
}

// Record puts the event at the end of the queue.
func (e *Event) Record() { e.d.do(func() error { return e.d.drv.record(e.h) }) }

// Milliseconds waits for both events and returns the time from e to later.
func (e *Event) Milliseconds(later *Event) float64 {
	var ms float64
	e.d.do(func() (err error) { ms, err = e.d.drv.elapsed(e.h, later.h); return err })
	return ms
}

// Close forgets the event.
func (e *Event) Close() { e.d.do(func() error { return e.d.drv.freeEvent(e.h) }) }

// Close gives everything back. The device must not be used afterwards.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(d.memory.close(), d.drv.close())
}
