package schemas

import (
	"bytes"
	"strconv"
)

// seat is one of the signatures that a submission needs: the role that must
// fill it, and the key that does.
type seat struct {
	role Role
	key  *Key
}

// seats fills need with what a submission or a correction needs.
func (e *Election) seats(need *[2]seat, correction bool) []seat {
	switch {
	case correction:
		need[0].role, need[1].role = Supervisor, Supervisor
		return need[:]
	case e.Definition.Signatures == 2:
		need[0].role, need[1].role = Official, Approver
		return need[:]
	}
	need[0].role = Official
	return need[:1]
}

// Authorize checks that v carries the signatures which a submission of unit
// needs: an official's, and an approver's where the election asks for two; for
// a correction those of two supervisors. Every key must cover the unit's
// county, and no key fills two seats, under whatever names the roster has it.
//
// As with every signed note (https://c2sp.org/signed-note), a line by an
// unknown key is ignored: it matters only when the others are not enough. A
// line by a key that would fill a seat must verify.
//
// It costs one Ed25519 verification a seat, and none for what fails before.
func (r *Keyring) Authorize(e *Election, v *Envelope, unit UnitIndex, correction bool) *FieldError {
	var room [2]seat
	seats := e.seats(&room, correction)
	county := e.Units[unit].County
	filled, unknown, wrong := 0, -1, -1
	var line [2]int // the signature line of each seat
	for i := range v.Signatures() {
		s := &v.Signatures()[i]
		key := r.Lookup(s.Name)
		if key == nil || key.Hash != s.Hash {
			unknown = i
			continue
		}
		if seated(seats, key) {
			continue
		}
		at := vacant(seats, key, county)
		if at < 0 {
			wrong = i
			continue
		}
		seats[at].key, line[at] = key, i
		if filled++; filled == len(seats) {
			break
		}
	}
	if filled < len(seats) {
		return unseated(seats, unknown, wrong)
	}
	for at := range seats {
		if !v.Verify(line[at], seats[at].key) {
			return signatureError(line[at], ProblemSignature, "does not verify: the key, the note or the body changed after signing")
		}
	}
	return nil
}

// vacant finds the empty seat that key may fill, or -1.
func vacant(seats []seat, key *Key, county CountyIndex) int {
	for i := range seats {
		if seats[i].key == nil && seats[i].role == key.Role && key.Covers(county) {
			return i
		}
	}
	return -1
}

// seated reports whether key fills a seat already.
func seated(seats []seat, key *Key) bool {
	for i := range seats {
		if k := seats[i].key; k != nil && bytes.Equal(k.Public, key.Public) {
			return true
		}
	}
	return false
}

// unseated says why not every seat is filled: a key that may not sign this
// tells most, then one that nobody knows.
func unseated(seats []seat, unknown, wrong int) *FieldError {
	want := "want a signature by the unit's " + string(Official)
	switch {
	case seats[0].role == Supervisor:
		want = "want signatures by two supervisors of the unit's county"
	case len(seats) == 2:
		want = "want signatures by the unit's official and by an approver"
	}
	switch {
	case wrong >= 0:
		return signatureError(wrong, ProblemRole, want+": this key is known and may not sign this")
	case unknown >= 0:
		return signatureError(unknown, ProblemUnknownKey, want+": this key is not in the roster")
	}
	return &FieldError{Field: "/envelope/signatures", Want: want, Code: ProblemSignaturesMissing}
}

func signatureError(line int, code ProblemCode, want string) *FieldError {
	return &FieldError{Field: "/envelope/signatures/" + strconv.Itoa(line), Want: want, Code: code}
}
