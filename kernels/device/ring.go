package device

// ring divides a buffer among pieces that come free in the order in which they were taken.
type ring struct {
	size int
	held []piece // oldest first
}

// piece is a part of a ring in use until its event has happened.
type piece struct {
	from, to int
	event    handle
}

// fit finds room for n bytes behind the newest piece; it reports false where the oldest must go first.
func (r *ring) fit(n int) (at int, ok bool) {
	if len(r.held) == 0 {
		return 0, n <= r.size
	}
	oldest, newest := r.held[0], r.held[len(r.held)-1]
	switch {
	case newest.from < oldest.from: // wrapped: what is free lies between them
		return newest.to, newest.to+n <= oldest.from
	case newest.to+n <= r.size:
		return newest.to, true
	default:
		return 0, n <= oldest.from
	}
}

// take marks n bytes found by fit as used until the event.
func (r *ring) take(at, n int, event handle) {
	r.held = append(r.held, piece{from: at, to: at + n, event: event})
}

// drop gives the oldest piece back.
func (r *ring) drop() handle {
	event := r.held[0].event
	r.held = r.held[1:]
	return event
}
