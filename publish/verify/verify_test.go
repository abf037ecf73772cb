package verify_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/publish/verify"
	"tallystream/schemas"
)

func TestARealNightVerifiesToTheByte(t *testing.T) {
	n := play(t)
	for _, all := range []bool{false, true} {
		r, st := check(t, verify.Options{Source: n.late, All: all})
		if r.Verdict != verify.Verified || st == nil {
			t.Fatalf("all %v:\n%s", all, print(r))
		}
		if r.Counted != 12*24+3 || r.Superseded != 1 || r.Released != 4 || r.Lapsed != 2 || r.Open != 3 || r.Movements != 6 {
			t.Errorf("all %v: %+v", all, r)
		}
		for _, code := range schemas.HoldCodes {
			if code != schemas.HoldDefinition && code != schemas.HoldMissing && r.Held[code] == 0 {
				t.Errorf("all %v: none is held as %s", all, code)
			}
		}
		if r.Documents == 0 || r.Files < 3*3+2 || r.Snapshots < 20 {
			t.Errorf("all %v: little was compared:\n%s", all, print(r))
		}
		if all && r.Documents < 20*6 {
			t.Errorf("%d documents of %d snapshots", r.Documents, r.Snapshots)
		}
	}
}

func TestALaterRunReadsOnlyWhatIsNew(t *testing.T) {
	n := play(t)
	r, st := check(t, verify.Options{Source: n.early})
	if r.Verdict != verify.Verified {
		t.Fatal(print(r))
	}
	path := t.TempDir() + "/state"
	if err := verify.WriteState(path, st); err != nil {
		t.Fatal(err)
	}
	st, err := verify.ReadState(path)
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]bool{}
	again, _ := check(t, verify.Options{Source: spy{n.late, read}, State: st})
	if again.Verdict != verify.Verified || again.Resumed != r.Leaves {
		t.Fatal(print(again))
	}
	whole, _ := check(t, verify.Options{Source: n.late})
	if again.Counted != whole.Counted || again.Held[schemas.HoldConflict] != 3 || again.Released != 4 || again.Open != whole.Open || again.Movements != whole.Movements || again.Snapshots != whole.Snapshots {
		t.Errorf("resumed:\n%s\nwhole:\n%s", print(again), print(whole))
	}
	if read[schemas.SnapshotKey(2)] {
		t.Error("an old snapshot was read again")
	}
}

// A run that is asked to pause at every chance says that it did not check everything,
// and those that go on where it stopped come to the verdict of one that never did.
func TestPausedRunsTogetherAreOneRun(t *testing.T) {
	n := play(t)
	whole, _ := check(t, verify.Options{Source: n.late})
	var st *verify.State
	for run := 1; ; run++ {
		r, next := check(t, verify.Options{Source: n.late, State: st, Pause: func() bool { return true }})
		if r.Verdict == verify.Verified {
			if run == 1 || r.Counted != whole.Counted || r.Snapshots != whole.Snapshots || r.Leaves != whole.Leaves {
				t.Errorf("after %d runs:\n%s\nin one:\n%s", run, print(r), print(whole))
			}
			break
		}
		if r.Verdict != verify.Incomplete || next == nil || len(r.Unchecked) == 0 || run > 100 {
			t.Fatalf("run %d:\n%s", run, print(r))
		}
		b, err := next.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if st, err = verify.DecodeState(b, "memory"); err != nil {
			t.Fatal(err)
		}
	}
	// What a paused run has passed by is not forgiven, and what it has not seen is.
	forged := maps.Clone(n.late)
	forged[schemas.SnapshotKey(2)] = forged[schemas.SnapshotKey(1)]
	r, next := check(t, verify.Options{Source: forged, Pause: func() bool { return true }})
	if r.Verdict != verify.Failed || next != nil {
		t.Errorf("a changed snapshot passes a run that is paused behind it:\n%s", print(r))
	}
}

// spy remembers what is read.
type spy struct {
	site
	read map[string]bool
}

func (s spy) Get(ctx context.Context, key string) ([]byte, error) {
	spying.Lock()
	defer spying.Unlock()
	s.read[key] = true
	return s.site.Get(ctx, key)
}

var spying sync.Mutex

func TestASealInAnElectionThatHidesNobodyIsFound(t *testing.T) {
	f := newForger(t, play(t))
	at := f.submission("oak.1", 48)
	sealed, err := leaf.Seal(f.decode(at), [leaf.SaltSize]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	f.leaves[at] = f.encode(sealed)
	r, st := check(t, verify.Options{Source: f.relog().site})
	if r.Verdict != verify.Failed || st != nil || !strings.Contains(print(r), "hides nobody") {
		t.Error(print(r))
	}
}

func TestAQuorumOfWitnessesIsWanted(t *testing.T) {
	n := play(t)
	s, key := signer("witness.example/w1")
	w, err := log.NewCosigner(s, key, func() time.Time { return time.Unix(1_000_000_000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	policy, err := log.ParsePolicy([]byte("log " + keyOf(origin) + "\nwitness w1 " + w.VerifierKey() + "\nquorum w1\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, _ := check(t, verify.Options{Source: n.late, Policy: policy})
	if r.Verdict != verify.Failed || !strings.Contains(print(r), "no witness cosigned") {
		t.Error(print(r))
	}
	f := newForger(t, n)
	checkpoint, err := log.ParseNote(f.site[log.CheckpointKey])
	if err != nil {
		t.Fatal(err)
	}
	if f.site[log.CheckpointKey], err = log.Sign(checkpoint.Text, signerOf(origin), w); err != nil {
		t.Fatal(err)
	}
	if r, _ = check(t, verify.Options{Source: f.site, Policy: policy}); r.Verdict != verify.Verified || len(r.Witness) != 1 {
		t.Error(print(r))
	}
}

func TestAWebsiteIsReadAsADirectoryIs(t *testing.T) {
	n := play(t)
	dir := t.TempDir()
	for key, b := range n.late {
		path := filepath.Join(dir, filepath.FromSlash(key))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	for _, location := range []string{dir, server.URL} {
		source, err := verify.Open(location)
		if err != nil {
			t.Fatal(err)
		}
		// The key that the site names, with a warning.
		r, st, err := verify.Run(t.Context(), verify.Options{Source: source})
		if err != nil || r.Verdict != verify.Verified || !r.FirstUse || len(r.Remarks) == 0 || st == nil {
			t.Fatalf("%s: %v\n%s", location, err, print(r))
		}
	}
}

// TestAnErrorOfTheLineIsNoVerdict: what could not be read says nothing about the
// election.
func TestAnErrorOfTheLineIsNoVerdict(t *testing.T) {
	n := play(t)
	for _, key := range []string{log.CheckpointKey, "tile/entries/000", "tile/0/000", schemas.DefinitionKey, schemas.SnapshotKey(3), schemas.LatestKey} {
		if r, _, err := verify.Run(t.Context(), verify.Options{Source: outage{n.late, key}, Key: keyOf(origin)}); !errors.Is(err, errOutage) {
			t.Errorf("%s: %v, report %v", key, err, r)
		}
	}
}

// TestWhoIsFoundOutCannotHangUp: an error behind a finding takes nothing back.
func TestWhoIsFoundOutCannotHangUp(t *testing.T) {
	f := newForger(t, play(t))
	f.sign("oak.2", 20, nil, "intruder")
	r, _, err := verify.Run(t.Context(), verify.Options{Source: outage{f.site, schemas.SnapshotKey(20)}, Key: keyOf(origin)})
	if err != nil || r.Verdict != verify.Failed || len(r.Unchecked) == 0 {
		t.Errorf("%v\n%s", err, print(r))
	}
}

// TestAHoldForAnotherReasonIsBelievedAndSaid: its rule may need what is not in
// the log.
func TestAHoldForAnotherReasonIsBelievedAndSaid(t *testing.T) {
	f := newForger(t, play(t))
	at := f.hold(schemas.HoldLowered, "oak.1")
	h := f.decode(at).(*leaf.Hold)
	h.Code = "under-review"
	f.leaves[at] = f.encode(h)
	// The list of holds, and reports by the common data format, have the code.
	r, _ := check(t, verify.Options{Source: f.relog().site})
	if r.Held["under-review"] != 1 || !strings.Contains(print(r), "1 submissions are held as under-review") {
		t.Error(print(r))
	}
	for i := range r.Findings {
		if x := &r.Findings[i]; x.Check != verify.CheckFile && x.Where != schemas.HoldsName {
			t.Error(r.Findings[i])
		}
	}
}

var errOutage = errors.New("the line is down")

type outage struct {
	site
	key string
}

func (o outage) Get(ctx context.Context, key string) ([]byte, error) {
	if key == o.key {
		return nil, errOutage
	}
	return o.site.Get(ctx, key)
}
