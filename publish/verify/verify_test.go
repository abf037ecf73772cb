package verify_test

import (
	"context"
	"sync"
	"testing"

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
		if r.Counted != 12*24+1 || r.Superseded != 1 || r.Held[schemas.HoldLowered] != 1 || r.Held[schemas.HoldPoison] != 1 || r.Held[schemas.HoldIdentity] != 1 {
			t.Errorf("all %v: %+v", all, r)
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
	if again.Counted != whole.Counted || again.Held[schemas.HoldConflict] != 1 || again.Snapshots != whole.Snapshots {
		t.Errorf("resumed:\n%s\nwhole:\n%s", print(again), print(whole))
	}
	if read[schemas.SnapshotKey(2)] {
		t.Error("an old snapshot was read again")
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
