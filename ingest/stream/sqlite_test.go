package stream_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"tallystream/ingest/stream"
	"tallystream/ingest/stream/streamtest"
	"tallystream/schemas"
)

func TestSQLiteIsAStream(t *testing.T) {
	for name, cfg := range map[string]stream.Config{
		"FromMemory": {},
		"FromFile":   {CacheBytes: -1},
		"TinyGroups": {MaxGroup: 2, CacheBytes: 3000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			streamtest.Run(t, func(t *testing.T) streamtest.Opener {
				cfg := cfg
				cfg.Path = pathFor(t)
				return func(t *testing.T) streamtest.Stream { return open(t, cfg) }
			})
		})
	}
}

func TestTheEmbeddedStreamIsASourceOfOneShard(t *testing.T) {
	for name, cfg := range map[string]stream.Config{"FromMemory": {}, "FromFile": {CacheBytes: -1}} {
		t.Run(name, func(t *testing.T) {
			streamtest.RunSource(t, func(t *testing.T) streamtest.Both {
				cfg := cfg
				cfg.Path = pathFor(t)
				s := open(t, cfg)
				return streamtest.Both{Append: s.Append, Source: stream.OneShard(s, streamtest.Partitions, time.Now)}
			})
		})
	}
}

func pathFor(t *testing.T) string { return filepath.Join(t.TempDir(), "stream.sqlite") }

func open(t *testing.T, cfg stream.Config) *stream.SQLite {
	t.Helper()
	s, err := stream.OpenSQLite(cfg)
	if err != nil {
		t.Fatalf("OpenSQLite: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() }) // again, after a test's own
	return s
}

func openReader(t *testing.T, path string) *stream.SQLite {
	t.Helper()
	s, err := stream.OpenSQLiteReader(stream.Config{Path: path})
	if err != nil {
		t.Fatalf("OpenSQLiteReader: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustAppend(t *testing.T, s *stream.SQLite, record string) schemas.Checkpoint {
	t.Helper()
	at, err := s.Append(t.Context(), 1, []byte(record))
	if err != nil {
		t.Fatalf("Append of %q: %v", record, err)
	}
	return at
}

func mustClose(t *testing.T, s *stream.SQLite) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// contents reads a stream of short records whole.
func contents(t *testing.T, s *stream.SQLite) []string {
	t.Helper()
	records, err := s.Read(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	all := make([]string, len(records))
	for i, r := range records {
		if r.At != schemas.Checkpoint(i+1) {
			t.Fatalf("record %d has checkpoint %d: want dense ones from 1", i, r.At)
		}
		all[i] = string(r.Bytes)
	}
	return all
}

func TestSecondWriterIsRefused(t *testing.T) {
	path := pathFor(t)
	first := open(t, stream.Config{Path: path})
	if _, err := stream.OpenSQLite(stream.Config{Path: path}); !errors.Is(err, stream.ErrLocked) {
		t.Fatalf("second OpenSQLite: %v, want ErrLocked", err)
	}
	mustAppend(t, first, "a")
	mustClose(t, first)
	mustAppend(t, open(t, stream.Config{Path: path}), "b")
}

// Where files cannot be locked, two writers must still not harm each other.
func TestWritersWithoutALockLoseGroupsButNeverRecords(t *testing.T) {
	t.Parallel()
	path := pathFor(t)
	writers := []*stream.SQLite{open(t, stream.Config{Path: path})}
	if err := writers[0].Unlock(); err != nil {
		t.Fatal(err)
	}
	writers = append(writers, open(t, stream.Config{Path: path}))
	acknowledged := map[schemas.Checkpoint]string{}
	failures := 0
	for n := range 40 {
		record := fmt.Sprint("record ", n)
		at, err := writers[n/4%2].Append(t.Context(), 1, []byte(record))
		switch {
		case err != nil && errors.Is(err, stream.ErrUnknownOutcome):
			t.Errorf("Append: %v, want a failure that is certain", err)
		case err != nil:
			failures++
		case acknowledged[at] != "":
			t.Errorf("checkpoint %d was given twice", at)
		default:
			acknowledged[at] = record
		}
	}
	if failures == 0 || len(acknowledged) == 0 {
		t.Errorf("%d failures and %d records: the writers did not meet", failures, len(acknowledged))
	}
	all := contents(t, openReader(t, path))
	if len(all) != len(acknowledged) {
		t.Errorf("stream has %d records, want the %d acknowledged", len(all), len(acknowledged))
	}
	for at, want := range acknowledged {
		if all[at-1] != want {
			t.Errorf("at %d: %q, want the acknowledged %q", at, all[at-1], want)
		}
	}
}

func TestForeignFileIsRefused(t *testing.T) {
	foreign := filepath.Join(t.TempDir(), "foreign.sqlite")
	conn, err := sqlite.OpenConn(foreign, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(sqlitex.ExecuteScript(conn, "CREATE TABLE t (x); PRAGMA user_version = 7", nil), conn.Close())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.OpenSQLite(stream.Config{Path: foreign}); !errors.Is(err, stream.ErrFormat) {
		t.Errorf("OpenSQLite: %v, want ErrFormat", err)
	}
	if _, err := openReader(t, foreign).Read(t.Context(), 0, 1); !errors.Is(err, stream.ErrFormat) {
		t.Errorf("Read: %v, want ErrFormat", err)
	}
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("this is no database, although it is long enough to be one ....................."), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.OpenSQLite(stream.Config{Path: garbage}); err == nil {
		t.Error("OpenSQLite took a file of garbage")
	}
	if _, err := stream.OpenSQLite(stream.Config{Path: filepath.Join(t.TempDir(), "no", "such", "directory")}); err == nil {
		t.Error("OpenSQLite took a path without a directory")
	}
}

func TestReaderMayComeBeforeTheFile(t *testing.T) {
	path := pathFor(t)
	r := openReader(t, path)
	if got := contents(t, r); len(got) != 0 || r.Last() != 0 {
		t.Fatalf("without a file there are %v, Last %d", got, r.Last())
	}
	if _, err := r.Get(t.Context(), 1); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("Get without a file: %v, want ErrNotFound", err)
	}
	if _, err := r.Append(t.Context(), 1, []byte("x")); err == nil {
		t.Error("a reader appended")
	}
	waited := make(chan error, 1)
	go func() { waited <- r.Wait(t.Context(), 0) }()
	w := open(t, stream.Config{Path: path, OnCommit: func(schemas.Checkpoint) { r.Wake() }})
	at := mustAppend(t, w, "first")
	if err := <-waited; err != nil {
		t.Fatalf("Wait: %v", err)
	}
	if got, err := r.Get(t.Context(), at); err != nil || string(got) != "first" {
		t.Errorf("Get: %q, %v", got, err)
	}
	if got := contents(t, r); len(got) != 1 || r.Last() != 1 {
		t.Errorf("reader sees %v, Last %d", got, r.Last())
	}
}

func TestReaderWithoutHintsFindsRecordsInTheEnd(t *testing.T) {
	t.Parallel()
	path := pathFor(t)
	w, r := open(t, stream.Config{Path: path}), openReader(t, path)
	at := mustAppend(t, w, "first")
	waited := make(chan error, 1)
	go func() { waited <- r.Wait(t.Context(), at) }()
	mustAppend(t, w, "second")
	if err := <-waited; err != nil {
		t.Fatalf("Wait: %v", err)
	}
}

func TestReaderOutlivesItsWriter(t *testing.T) {
	t.Parallel()
	path := pathFor(t)
	r := openReader(t, path)
	for n := range 3 {
		w := open(t, stream.Config{Path: path})
		mustAppend(t, w, fmt.Sprint(n))
		mustClose(t, w)
		if got := contents(t, r); len(got) != n+1 {
			t.Fatalf("after %d writers the reader sees %v", n+1, got)
		}
	}
}

func TestCommitsAreToldInOrder(t *testing.T) {
	var told []schemas.Checkpoint
	s := open(t, stream.Config{Path: pathFor(t), Linger: -1, OnCommit: func(last schemas.Checkpoint) { told = append(told, last) }})
	for n := range 5 {
		mustAppend(t, s, fmt.Sprint(n))
	}
	mustClose(t, s)
	if fmt.Sprint(told) != "[1 2 3 4 5]" {
		t.Errorf("told %v", told)
	}
}

// blocked opens a stream whose file takes nothing until release is called.
// The first record is on its way to the file when blocked returns.
func blocked(t *testing.T, cfg stream.Config) (s *stream.SQLite, first chan error, release func()) {
	t.Helper()
	cfg.Path, cfg.Linger = pathFor(t), -1
	s = open(t, cfg)
	entered, gate := make(chan struct{}, 100), make(chan struct{})
	s.Fault(func(_ int, next func() error) error {
		entered <- struct{}{}
		<-gate
		return next()
	})
	first = make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), 1, []byte("first"))
		first <- err
	}()
	<-entered
	return s, first, func() { close(gate) }
}

// queue appends a record and returns when it is queued. It needs a bubble of
// synctest.
func queue(t *testing.T, s *stream.SQLite, ctx context.Context, record string) chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := s.Append(ctx, 1, []byte(record))
		done <- err
	}()
	synctest.Wait()
	return done
}

func TestFullQueueIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := prometheus.NewRegistry()
		s, first, release := blocked(t, stream.Config{QueueLimit: 3, Metrics: stream.NewMetrics(metrics)})
		var queued []chan error
		for n := range 3 {
			queued = append(queued, queue(t, s, t.Context(), fmt.Sprint(n)))
		}
		if _, err := s.Append(t.Context(), 1, []byte("one too many")); !errors.Is(err, stream.ErrBusy) {
			t.Errorf("Append: %v, want ErrBusy", err)
		}
		release()
		for _, done := range append(queued, first) {
			if err := <-done; err != nil {
				t.Errorf("Append: %v", err)
			}
		}
		if got := contents(t, s); len(got) != 4 {
			t.Errorf("stream has %q, want all but the refused one", got)
		}
		if got := gathered(t, metrics, "tallystream_stream_appends_total"); got["stored"] != 4 || got["busy"] != 1 {
			t.Errorf("appends by outcome: %v, want 4 stored and 1 busy", got)
		}
	})
}

// gathered is the value of each label of a counter.
func gathered(t *testing.T, from prometheus.Gatherer, name string) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			values[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	return values
}

func TestQueueIsBoundedInBytesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, first, release := blocked(t, stream.Config{QueueBytes: 1000})
		second := queue(t, s, t.Context(), string(make([]byte, 900)))
		if _, err := s.Append(t.Context(), 1, make([]byte, 200)); !errors.Is(err, stream.ErrBusy) {
			t.Errorf("Append: %v, want ErrBusy", err)
		}
		release()
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
	})
}

func TestGivingUpOnAQueuedRecordWithdrawsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, first, release := blocked(t, stream.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		second := queue(t, s, ctx, "second")
		third := queue(t, s, t.Context(), "third")
		cancel()
		if err := <-second; !errors.Is(err, context.Canceled) || errors.Is(err, stream.ErrUnknownOutcome) {
			t.Errorf("Append: %v, want a certain context.Canceled", err)
		}
		release()
		if err := errors.Join(<-first, <-third); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprint(contents(t, s)); got != "[first third]" {
			t.Errorf("stream has %s", got)
		}
	})
}

func TestGivingUpOnARecordUnderWayIsAnUnknownOutcome(t *testing.T) {
	path := pathFor(t)
	s := open(t, stream.Config{Path: path, Linger: -1})
	ctx, cancel := context.WithCancel(t.Context())
	gate := make(chan struct{})
	s.Fault(func(_ int, next func() error) error {
		cancel()
		<-gate
		return next()
	})
	_, err := s.Append(ctx, 1, []byte("a"))
	if !errors.Is(err, stream.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("Append: %v, want ErrUnknownOutcome because of context.Canceled", err)
	}
	close(gate)
	mustClose(t, s)
	if got := contents(t, open(t, stream.Config{Path: path})); len(got) != 1 {
		t.Errorf("stream has %q", got)
	}
}

var errDisk = errors.New("the disk says no")

// Each fault strikes the second of three groups. The first and the third must
// not notice, and readers must agree with the file.
func TestFailedGroupFailsAlone(t *testing.T) {
	for _, test := range []struct {
		name    string
		fault   func(next func() error) error
		unknown bool
		want    string
	}{
		{"NothingStored", func(func() error) error { return errDisk }, false, "[one three]"},
		{"NotStoredWithUnknownOutcome", func(func() error) error {
			return fmt.Errorf("%w: %w", stream.ErrUnknownOutcome, errDisk)
		}, true, "[one three]"},
		{"StoredButReportedAsUnknown", func(next func() error) error {
			return errors.Join(next(), fmt.Errorf("%w: %w", stream.ErrUnknownOutcome, errDisk))
		}, true, "[one two three]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := pathFor(t)
			s := open(t, stream.Config{Path: path, Linger: -1})
			group := 0
			s.Fault(func(_ int, next func() error) error {
				if group++; group == 2 {
					return test.fault(next)
				}
				return next()
			})
			mustAppend(t, s, "one")
			_, err := s.Append(t.Context(), 1, []byte("two"))
			if !errors.Is(err, errDisk) || errors.Is(err, stream.ErrUnknownOutcome) != test.unknown {
				t.Errorf("Append: %v, want the disk's error, unknown: %v", err, test.unknown)
			}
			mustAppend(t, s, "three")
			if got := fmt.Sprint(contents(t, s)); got != test.want {
				t.Errorf("stream has %s, want %s", got, test.want)
			}
			if err := s.Wait(t.Context(), s.Last()-1); err != nil {
				t.Errorf("Wait: %v", err)
			}
			mustClose(t, s)
			if got := fmt.Sprint(contents(t, open(t, stream.Config{Path: path}))); got != test.want {
				t.Errorf("reopened stream has %s, want %s", got, test.want)
			}
		})
	}
}
