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
	return r.fill(e.seats(&room, correction), &v.signedText, e.Units[unit].County, "/envelope")
}

// AuthorizeRelease checks that l carries the signatures of two supervisors of
// the unit's county, by the same rules as Authorize.
func (r *Keyring) AuthorizeRelease(e *Election, l *Release, unit UnitIndex) *FieldError {
	var room [2]seat
	return r.fill(e.seats(&room, true), &l.signedText, e.Units[unit].County, "/release")
}

// Names reports whether v names keys that would fill every seat, as Authorize
// wants it. It verifies no signature: for those whose records were authorized
// before, by another roster perhaps.
func (r *Keyring) Names(e *Election, v *Envelope, unit UnitIndex, correction bool) *FieldError {
	var room [2]seat
	_, err := r.place(e.seats(&room, correction), &v.signedText, e.Units[unit].County, "/envelope")
	return err
}

// NamesRelease does the same for AuthorizeRelease.
func (r *Keyring) NamesRelease(e *Election, l *Release, unit UnitIndex) *FieldError {
	var room [2]seat
	_, err := r.place(e.seats(&room, true), &l.signedText, e.Units[unit].County, "/release")
	return err
}

// fill finds a signature for every seat and verifies it. Errors name a field
// below at.
func (r *Keyring) fill(seats []seat, t *signedText, county CountyIndex, at string) *FieldError {
	line, err := r.place(seats, t, county, at)
	if err != nil {
		return err
	}
	for i := range seats {
		if !t.Verify(line[i], seats[i].key) {
			return signatureError(at, line[i], ProblemSignature, "does not verify: the key, the note or the body changed after signing")
		}
	}
	return nil
}

// place finds for every seat a signature line whose key may fill it.
func (r *Keyring) place(seats []seat, t *signedText, county CountyIndex, at string) (line [2]int, err *FieldError) {
	filled, unknown, wrong := 0, -1, -1
	for i := range t.Signatures() {
		s := &t.Signatures()[i]
		key := r.Lookup(s.Name)
		if key == nil || key.Hash != s.Hash {
			unknown = i
			continue
		}
		if seated(seats, key) {
			continue
		}
		free := vacant(seats, key, county)
		if free < 0 {
			wrong = i
			continue
		}
		seats[free].key, line[free] = key, i
		if filled++; filled == len(seats) {
			break
		}
	}
	if filled < len(seats) {
		return line, unseated(seats, unknown, wrong, at)
	}
	return line, nil
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
func unseated(seats []seat, unknown, wrong int, at string) *FieldError {
	want := "want a signature by the unit's " + string(Official)
	switch {
	case seats[0].role == Supervisor:
		want = "want signatures by two supervisors of the unit's county"
	case len(seats) == 2:
		want = "want signatures by the unit's official and by an approver"
	}
	switch {
	case wrong >= 0:
		return signatureError(at, wrong, ProblemRole, want+": this key is known and may not sign this")
	case unknown >= 0:
		return signatureError(at, unknown, ProblemUnknownKey, want+": this key is not in the roster")
	}
	return &FieldError{Field: at + "/signatures", Want: want, Code: ProblemSignaturesMissing}
}

func signatureError(at string, line int, code ProblemCode, want string) *FieldError {
	return &FieldError{Field: at + "/signatures/" + strconv.Itoa(line), Want: want, Code: code}
}
