package wire

// Input is what has come from a client and is not a whole message yet. The
// zero Input is that of a client that has said nothing.
type Input struct {
	bytes  []byte // the frames of a message that goes on, and a part of the next frame
	held   int    // bytes of those frames
	size   uint64 // bytes of their payloads
	judged bool   // the header of the next frame was judged already
}

// Waiting reports whether something is kept.
func (in *Input) Waiting() bool { return len(in.bytes) > 0 }

// Feed adds what came, and passes on each message (all of its frames in a
// row) and each control frame, which may come between the frames of a message.
// What is passed on is b's or the Input's own: it may be changed, and is valid
// until pass returns. pass returns false to end the reading of this client.
//
// The error is a *Violation. Rest is then what came from the header of the
// frame on that breaks the rule; without an error, what came after pass
// returned false.
func (in *Input) Feed(b []byte, rules *Rules, pass func(frames []byte, op Opcode) bool) (rest []byte, err error) {
	if in.Waiting() {
		in.bytes = append(in.bytes, b...)
		b = in.bytes
	}
	start, pos := 0, in.held
	for pos < len(b) {
		h, ok := ReadHead(b[pos:])
		if !ok {
			break
		}
		if !in.judged {
			if err := rules.check(&h, in.size); err != nil {
				return b[pos:], err
			}
			in.judged = true
		}
		total := h.Size + int(h.Length) // within the rules: no overflow
		if len(b)-pos < total {
			break
		}
		in.judged = false
		switch {
		case h.Opcode.Control():
			if !pass(b[pos:pos+total], h.Opcode) {
				return b[pos+total:], nil
			}
			copy(b[start+total:], b[start:pos]) // the held frames move up to what follows
			start += total
		case !h.Final:
			in.size += h.Length
		default:
			if !pass(b[start:pos+total], h.Opcode) {
				return b[pos+total:], nil
			}
			start, in.size = pos+total, 0
		}
		pos += total
	}
	in.keep(b, start, pos-start)
	return nil, nil
}

// keep remembers what is not passed on yet: b from start on.
func (in *Input) keep(b []byte, start, held int) {
	in.held = held
	switch {
	case start == len(b):
		in.bytes = nil
	case in.Waiting():
		in.bytes = b[start:]
	default: // b is a buffer of the caller's
		in.bytes = append([]byte(nil), b[start:]...)
	}
}

// Walk follows the frames of a stream that somebody else reads, or nobody any
// more, without keeping more than a header. The zero Walk is at a beginning.
type Walk struct {
	skip uint64 // bytes of a payload that are still to come
	head [MaxHead]byte
	n    int    // bytes of head
	size uint64 // bytes of the payloads of a message that goes on
	done bool   // the last frame of a client has passed
	last bool   // the payload to skip is that of a close frame
}

// Closed reports whether a whole close frame has passed.
func (w *Walk) Closed() bool { return w.done }

// Take goes over b. With rules the error is a *Violation, and n says how
// many bytes came before the header that breaks a rule, or 0 if that began
// in an earlier b: the walk goes on from b[n:] without rules.
func (w *Walk) Take(b []byte, rules *Rules) (n int, err error) {
	for pos := 0; pos < len(b) && !w.done; {
		if w.skip > 0 {
			step := min(w.skip, uint64(len(b)-pos))
			w.skip -= step
			pos += int(step)
			w.done = w.last && w.skip == 0
			continue
		}
		begun := pos - w.n
		add := copy(w.head[w.n:], b[pos:])
		h, ok := ReadHead(w.head[:w.n+add])
		if !ok {
			w.n += add
			return len(b), nil
		}
		pos += h.Size - w.n
		if rules != nil {
			if err := rules.check(&h, w.size); err != nil {
				return max(begun, 0), err
			}
		}
		w.enter(&h)
	}
	return len(b), nil
}

// enter goes on behind a header.
func (w *Walk) enter(h *Head) {
	w.n, w.skip, w.last = 0, h.Length, h.Opcode == Close
	w.done = w.last && h.Length == 0
	switch {
	case h.Opcode.Control():
	case h.Final:
		w.size = 0
	default:
		w.size += h.Length
	}
}
