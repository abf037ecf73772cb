//go:build unix

package stream_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// childPath and childMode make the test binary a writer of its own.
const (
	childPath = "STREAM_TEST_CHILD_PATH"
	childMode = "STREAM_TEST_CHILD_MODE"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		runChild(path)
		return
	}
	goleak.VerifyTestMain(m)
}

func runChild(path string) {
	run := appendUntilKilled
	if os.Getenv(childMode) == "full" {
		run = appendUntilFull
	}
	if err := run(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(t *testing.T, path, mode string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childPath+"="+path, childMode+"="+mode)
	cmd.Stderr = os.Stderr
	return cmd
}

// crashRecord is the n-th record of an appender: its bytes follow from both.
func crashRecord(appender, n int) []byte {
	head := fmt.Sprintf("%d %d\n", appender, n)
	random := rand.NewChaCha8([32]byte{byte(appender), byte(n), byte(n >> 8), byte(n >> 16)})
	body := make([]byte, 500+(appender*977+n*131)%9000)
	_, _ = random.Read(body)
	return append([]byte(head), body...)
}

// appendUntilKilled appends from many goroutines and writes a line
// "checkpoint appender n" for each acknowledgement, after it.
func appendUntilKilled(path string) error {
	s, err := stream.OpenSQLite(stream.Config{Path: path})
	if err != nil {
		return err
	}
	start := int(s.Last())
	errs := make(chan error)
	for appender := range 32 {
		go func() {
			for n := start; ; n++ {
				at, err := s.Append(context.Background(), schemas.Partition(appender), crashRecord(appender, n))
				if err != nil {
					errs <- err
					return
				}
				// One write each, so that lines of a killed process are whole.
				if _, err := fmt.Fprintf(os.Stdout, "%d %d %d\n", at, appender, n); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	return <-errs
}

func TestKilledWriterLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	path := pathFor(t)
	acknowledged := map[schemas.Checkpoint][2]int{}
	for round := range 4 {
		cmd := child(t, path, "kill")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 400+round*333 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			var at schemas.Checkpoint
			var id [2]int
			if _, err := fmt.Sscan(lines.Text(), &at, &id[0], &id[1]); err != nil {
				t.Fatalf("line %q: %v", lines.Text(), err)
			}
			if _, twice := acknowledged[at]; twice {
				t.Fatalf("round %d: checkpoint %d was given twice", round, at)
			}
			acknowledged[at] = id
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("round %d: child ended with %v, want killed", round, err)
		}
		checkAcknowledged(t, path, acknowledged)
	}
}

// What a writer has acknowledged, another process can read at once.
func TestAcknowledgedRecordIsThereForOtherProcesses(t *testing.T) {
	t.Parallel()
	path := pathFor(t)
	r := openReader(t, path) // before there is a file
	cmd := child(t, path, "kill")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 300 {
		if !lines.Scan() {
			t.Fatalf("child ended: %v", lines.Err())
		}
		var at schemas.Checkpoint
		var appender, n int
		if _, err := fmt.Sscan(lines.Text(), &at, &appender, &n); err != nil {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		if got, err := r.Get(t.Context(), at); err != nil || !bytes.Equal(got, crashRecord(appender, n)) {
			t.Fatalf("Get at the acknowledged %d: %d bytes, %v", at, len(got), err)
		}
		if err := r.Wait(t.Context(), at-1); err != nil {
			t.Fatalf("Wait before %d: %v", at, err)
		}
		if records, err := r.Read(t.Context(), at-1, 1); err != nil || len(records) != 1 || records[0].At != at || int(records[0].Partition) != appender {
			t.Fatalf("Read after %d: %d records, %v", at-1, len(records), err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // killed
}

func checkAcknowledged(t *testing.T, path string, acknowledged map[schemas.Checkpoint][2]int) {
	t.Helper()
	// A reader must manage alone: the writer may be down for long.
	r := openReader(t, path)
	seen := contents(t, r)
	mustClose(t, r)
	s := open(t, stream.Config{Path: path})
	defer mustClose(t, s)
	all := contents(t, s)
	if !slices.Equal(seen, all) {
		t.Fatalf("a reader found %d records before the writer came back with %d", len(seen), len(all))
	}
	for at, id := range acknowledged {
		if int(at) > len(all) || all[at-1] != string(crashRecord(id[0], id[1])) {
			t.Fatalf("the record acknowledged at %d is not there (%d records are)", at, len(all))
		}
	}
	for i, record := range all { // also the rest must be whole
		head, _, _ := strings.Cut(record, "\n")
		appender, n, _ := strings.Cut(head, " ")
		a, err1 := strconv.Atoi(appender)
		b, err2 := strconv.Atoi(n)
		if err1 != nil || err2 != nil || record != string(crashRecord(a, b)) {
			t.Fatalf("record %d is not one that was appended", i+1)
		}
	}
	t.Logf("%d records, %d of them acknowledged", len(all), len(acknowledged))
}

// appendUntilFull lets the file system refuse writes beyond a size, then
// lets it take them again.
func appendUntilFull(path string) error {
	s, err := stream.OpenSQLite(stream.Config{Path: path, Linger: -1})
	if err != nil {
		return err
	}
	limit := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	small := limit
	small.Cur = 2 << 20
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &small); err != nil {
		return err
	}
	stored, refused := 0, 0
	body := bytes.Repeat([]byte("x"), 50_000)
	for refused < 3 {
		switch _, err := s.Append(context.Background(), 1, body); {
		case err == nil:
			if refused > 0 {
				return errors.New("stored a record on a full disk")
			}
			stored++
		case stored == 0:
			return fmt.Errorf("first record: %w", err)
		default:
			refused++
		}
	}
	if last := s.Last(); int(last) != stored {
		return fmt.Errorf("last is %d, want %d", last, stored)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if _, err := s.Append(context.Background(), 1, []byte("after")); err != nil {
		return fmt.Errorf("with space again: %w", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	fmt.Println(stored)
	return nil
}

func TestFullDiskRefusesRecordsUntilThereIsSpace(t *testing.T) {
	t.Parallel()
	path := pathFor(t)
	out, err := child(t, path, "full").Output()
	if err != nil {
		t.Fatalf("child: %v", err)
	}
	stored, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	all := contents(t, open(t, stream.Config{Path: path}))
	if len(all) != stored+1 || all[stored] != "after" {
		t.Errorf("stream has %d records, want the %d stored before and the one after", len(all), stored)
	}
}
