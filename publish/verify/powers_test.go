package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/publish"
	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/publish/log/authority"
	"tallystream/publish/log/leaf"
	"tallystream/publish/verify"
	"tallystream/schemas"
)

var rootNames = []string{"root.1", "root.2", "root.3"}

func rooted(c *publish.Config) {
	c.Threshold = 2
	for _, name := range rootNames {
		c.Roots = append(c.Roots, keyOf(name))
	}
}

// rosterWith is the roster with another official of oak.
func rosterWith(official string) []byte {
	var r schemas.Roster
	if err := json.Unmarshal(roster(), &r); err != nil {
		panic(err)
	}
	r.Keys = slices.DeleteFunc(r.Keys, func(k schemas.KeyEntry) bool { return k.Key == keyOf("official.oak") })
	r.Keys = append(r.Keys, schemas.KeyEntry{Key: keyOf(official), Role: schemas.Official, County: "oak"})
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return b
}

func rosterChange(number uint64, roster []byte, by ...string) []byte {
	s := leaf.NewStatement(leaf.KindRoster, origin, number)
	s.File = leaf.File{Digest: schemas.DigestOf(roster), Bytes: uint64(len(roster))}
	return signedChange(s, by...)
}

func signedChange(s *leaf.Statement, by ...string) []byte {
	n := &log.Note{Text: s.AppendText(nil)}
	for _, name := range by {
		one, err := log.Sign(n.Text, signerOf(name))
		if err != nil {
			panic(err)
		}
		own, err := log.ParseNote(one)
		if err != nil {
			panic(err)
		}
		n.Signatures = append(n.Signatures, own.Signatures...)
	}
	return n.Append(nil)
}

func (x *stage) change(note, roster []byte) error {
	q := publish.ChangeRequest{Register: x.store, Bucket: x.store, Election: x.e, Note: note, Roster: roster}
	if err := q.Send(x.t.Context()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Minute)
	defer cancel()
	_, err := q.Await(ctx, func(ctx context.Context, d time.Duration) error { time.Sleep(d); return ctx.Err() })
	return err
}

func (x *stage) count(unit schemas.UnitID, revision int, by string) {
	u, _ := x.e.Unit(unit)
	record := envelope(x.e, unit, revision, numbers(x.e, u, revision), nil, by)
	x.ledgers.add(entry(x.e, record, schemas.EntryCounted, ""), record, numbers(x.e, u, revision))
	time.Sleep(3 * time.Second)
}

func (x *stage) keys() *publish.Keys {
	return &publish.Keys{Register: x.store, Bucket: narrow{x.store, x.t}, Election: x.e, Roster: roster()}
}

// narrow is the bucket as ingest's role has it (infra/tofu, FollowKeys): whose
// keys may sign can be learned of the log and the rosters, and nothing is written.
type narrow struct {
	publish.Bucket
	t *testing.T
}

func (n narrow) Get(ctx context.Context, key string) ([]byte, error) {
	if key != log.CheckpointKey && !strings.HasPrefix(key, "rosters/") && !strings.HasPrefix(key, "tile/") {
		n.t.Errorf("ingest reads %s, which its role may not", key)
	}
	return n.Bucket.Get(ctx, key)
}

func (n narrow) PutNew(context.Context, ...bucket.Object) error { panic("ingest writes nothing") }

func (n narrow) Replace(context.Context, ...bucket.Object) error { panic("ingest writes nothing") }

func (x *stage) mayAtIngest(k *publish.Keys, name string) bool {
	ring, err := k.Keyring(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	return ring.Lookup([]byte(name)) != nil
}

// TestAnOfficialsKeyIsReplacedInTheNight by two of three root keys, with a
// start of the sequencer before and behind it.
func TestAnOfficialsKeyIsReplacedInTheNight(t *testing.T) {
	var late site
	synctest.Test(t, func(t *testing.T) {
		x := open(t, rooted)
		x.count("oak.1", 1, "official.oak")
		x.restart(rooted)
		time.Sleep(2 * time.Second)
		next := rosterWith("official.oak/2")
		if err := x.change(rosterChange(1, next, "root.1"), next); !errors.Is(err, authority.ErrThreshold) {
			t.Errorf("one of three roots: %v", err)
		}
		// And whoever writes past the command finds nobody who logs it.
		_ = x.store.Swap(t.Context(), "publication-change", nil, rosterChange(1, next, "root.1", "official.oak"))
		time.Sleep(time.Minute)
		keys := x.keys()
		if !x.mayAtIngest(keys, "official.oak") || x.mayAtIngest(keys, "official.oak/2") {
			t.Error("what too few root keys signed changes what ingest takes")
		}

		good := rosterChange(1, next, "root.3", "root.1")
		_ = x.store.Swap(t.Context(), "publication-change", nil, nil)
		if err := (&publish.ChangeRequest{Register: x.store, Bucket: x.store, Election: x.e, Note: good, Roster: next}).Send(t.Context()); err != nil {
			t.Fatal(err)
		}
		if x.mayAtIngest(keys, "official.oak") || x.mayAtIngest(keys, "official.oak/2") || !x.mayAtIngest(keys, "official.fir") {
			t.Error("while a change waits only keys of both rosters may sign")
		}
		x.count("oak.2", 1, "official.oak") // it was taken before, and comes late
		if err := x.change(good, next); err != nil {
			t.Fatal(err)
		}
		if x.mayAtIngest(keys, "official.oak") || !x.mayAtIngest(keys, "official.oak/2") {
			t.Error("behind its leaf the new roster is in force")
		}
		x.count("oak.1", 2, "official.oak/2")
		x.restart(rooted) // with the first roster: the log says which is in force
		x.count("oak.2", 2, "official.oak/2")
		x.restart(func(c *publish.Config) { c.Roster = next })
		x.count("oak.3", 1, "official.oak/2")
		late = x.close()
		if string(late[schemas.RosterKey]) != string(next) {
			t.Errorf("the roster in force is\n%s", late[schemas.RosterKey])
		}
		if r, _ := check(t, verify.Options{Source: late, All: true}); r.Verdict != verify.Verified || r.Counted != 5 {
			t.Error(print(r))
		}
	})
	followsInJavaScript(t, late, keyOf(origin), 5)
}

// whenRosterIsWritten is a bucket of which a copy is kept where a changed roster is
// in the log and not in its file yet.
type whenRosterIsWritten struct {
	*objects
	between site
}

func (w *whenRosterIsWritten) Replace(ctx context.Context, all ...bucket.Object) error {
	if len(all) == 1 && all[0].Key == schemas.RosterKey {
		w.between = w.copy()
	}
	return w.objects.Replace(ctx, all...)
}

// TestARosterThatIsBeingChangedAccusesNobody: its file comes behind its leaf, and
// an old one that stays there is found all the same.
func TestARosterThatIsBeingChangedAccusesNobody(t *testing.T) {
	var sites []site
	synctest.Test(t, func(t *testing.T) {
		var w *whenRosterIsWritten
		x := open(t, rooted, func(c *publish.Config) {
			w = &whenRosterIsWritten{objects: c.Bucket.(*objects)}
			c.Bucket = w
		})
		x.count("oak.1", 1, "official.oak")
		next := rosterWith("official.oak/2")
		if err := x.change(rosterChange(1, next, "root.1", "root.2"), next); err != nil {
			t.Fatal(err)
		}
		late := x.close()
		stale := maps.Clone(late)
		stale[schemas.RosterKey] = roster()
		sites = []site{w.between, late, stale}
	})
	var variants []variant
	want := map[string]verify.Verdict{"being written": verify.Incomplete, "written": verify.Verified, "an old one": verify.Failed}
	for i, name := range []string{"being written", "written", "an old one"} {
		r, _ := check(t, verify.Options{Source: sites[i], All: true})
		if r.Verdict != want[name] || want[name] == verify.Failed && !strings.Contains(print(r), "is not the roster in force") {
			t.Errorf("%s:\n%s", name, print(r))
		}
		v := against(sites[1], sites[i])
		v.Name, v.All = name, true
		variants = append(variants, v)
	}
	for name, r := range askJavaScript(t, sites[1], variants) {
		if r.Verdict != want[name] {
			t.Errorf("%s, in JavaScript:\n%s", name, print(&r))
		}
	}
}

// TestASubmissionThatKeysInForceDidNotSignIsNotPublished: it pauses publication,
// which says why; every auditor would have refused the log.
func TestASubmissionThatKeysInForceDidNotSignIsNotPublished(t *testing.T) {
	for who, by := range map[string]string{"a revoked key": "official.oak", "another county's": "official.fir", "another role's": "supervisor.1"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { isNotPublished(t, by) })
		})
	}
}

func isNotPublished(t *testing.T, by string) {
	x := open(t, rooted)
	x.count("oak.1", 1, "official.oak")
	next := rosterWith("official.oak/2")
	if err := x.change(rosterChange(1, next, "root.1", "root.2"), next); err != nil {
		t.Fatal(err)
	}
	x.count("oak.1", 2, by)
	if err := <-x.done; !isPowers(err) {
		t.Fatalf("it was published: %v", err)
	}
	late := x.store.copy()
	if !strings.Contains(string(late[schemas.PauseKey]), "\nreason revoked-key\n") {
		t.Errorf("the public is told %q", late[schemas.PauseKey])
	}
	if r, _ := check(t, verify.Options{Source: late, All: true}); r.Verdict != verify.Verified || r.Counted != 1 {
		t.Error(print(r))
	}
}

// TestThePublishersKeyIsHandedOver: both sign while both are in force.
func TestThePublishersKeyIsHandedOver(t *testing.T) {
	var late site
	synctest.Test(t, func(t *testing.T) {
		old := func(c *publish.Config) { rooted(c); c.NextSigner = namedAs("next") }
		x := open(t, old)
		x.count("oak.1", 1, "official.oak")
		say := func(number uint64, change leaf.Change, role leaf.KeyRole, key string) {
			t.Helper()
			s := leaf.NewStatement(leaf.KindKey, origin, number)
			s.Change, s.Key = change, leaf.RoleKey{Role: role, Key: key}
			if err := x.change(signedChange(s, "root.1", "root.2"), nil); err != nil {
				t.Fatal(err)
			}
		}
		say(1, leaf.AddKey, leaf.LogKey, keyAs("next"))
		say(2, leaf.AddKey, leaf.SnapshotKey, keyAs("next"))
		x.restart(func(c *publish.Config) {
			rooted(c)
			c.Signer, c.VerifierKey, c.NextSigner = namedAs("next"), keyAs("next"), signerOf(origin)
		})
		x.count("oak.1", 2, "official.oak")
		if r, _ := check(t, verify.Options{Source: x.store.copy(), All: true}); r.Verdict != verify.Verified {
			t.Error(print(r))
		}
		say(3, leaf.RevokeKey, leaf.LogKey, keyOf(origin))
		say(4, leaf.RevokeKey, leaf.SnapshotKey, keyOf(origin))
		x.restart(func(c *publish.Config) { c.Signer, c.VerifierKey = namedAs("next"), keyAs("next") })
		x.count("oak.1", 3, "official.oak")
		late = x.close()
		if r, _ := check(t, verify.Options{Source: late, Key: keyAs("next"), All: true}); r.Verdict != verify.Verified || r.Counted != 3 {
			t.Error(print(r))
		}
		again := func(c *publish.Config) { rooted(c) } // with the key that was revoked
		x.start(again)
		if err := <-x.done; !errors.Is(err, publish.ErrForeign) {
			t.Errorf("a revoked key publishes: %v", err)
		}
	})
	followsInJavaScript(t, late, keyAs("next"), 3)
}
