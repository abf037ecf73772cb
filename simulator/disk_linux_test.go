package simulator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tallystream/service"
)

// diskVariable has the test binary mount a small file system at that directory
// and play its night there.
const diskVariable = "TALLYSTREAM_SMALL_DISK"

// TestAFullDiskIsNamedAndLosesNothingAcknowledged: everything of a night lies on
// one file system, which fills up in the middle and has space again later.
func TestAFullDiskIsNamedAndLosesNothingAcknowledged(t *testing.T) {
	if at := os.Getenv(diskVariable); at != "" {
		if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=64m"); err != nil {
			t.Skip("a file system of one's own cannot be mounted here:", err)
		}
		nightOnASmallDisk(t, at)
		return
	}
	// In namespaces of its own a process may mount without being root, and what it
	// mounts goes with it.
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=8m")
	child.Env = append(os.Environ(), diskVariable+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := child.CombinedOutput()
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC):
		t.Skip("a file system of one's own needs user namespaces, which are not to be had here:", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	}
	t.Logf("%s", out)
}

func nightOnASmallDisk(t *testing.T, disk string) {
	var out bytes.Buffer
	d, err := newDrive(t.Context(), electionFlags{Generate: "county", Seed: 6, Revisions: 1}, driveFlags{Speed: "50/s", Viewers: 1, Clients: 8}, &out)
	if err != nil {
		t.Fatal(err)
	}
	data := service.Data{Dir: filepath.Join(disk, "data")}
	if err := d.writeElection(data, "ingest", "publish"); err != nil {
		t.Fatal(err)
	}
	var j journal
	night, err := StartNight(context.WithoutCancel(t.Context()), NightOptions{
		Data: data, Bucket: filepath.Join(disk, "public"), Listen: "127.0.0.1:0", Logger: slog.New(slog.NewTextHandler(&j, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct {
		report *Report
		err    error
	}
	played := make(chan outcome, 1)
	go func() {
		r, err := d.play(t.Context(), night)
		played <- outcome{r, err}
	}()

	j.await(t, "the night is under way", func() bool { in, _, _ := night.Progress(); return in > 20 })
	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	j.await(t, "ingest says so", func() bool { return j.hasLine("storing records failed", data.StreamPath(), "disk is full") })
	j.await(t, "publish says so", func() bool { // of the bucket, or of the register if no document had changed
		return j.hasLine("writing to the bucket failed", "no space left on device") || j.hasLine("writing to the bucket failed", "object=mark", "disk is full")
	})
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}

	o := <-played
	if o.err != nil {
		t.Fatalf("%v\n%s", o.err, j.String())
	}
	if !o.report.Reconciled || o.report.Submissions.Retries == 0 {
		t.Errorf("%d submissions were sent again, want some; mismatches:\n%s", o.report.Submissions.Retries, strings.Join(o.report.Mismatches, "\n"))
	}
	if err := night.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("%d submissions, %d sent again, %d sums equal", o.report.Submissions.Sent, o.report.Submissions.Retries, o.report.Checked)
}

// fill takes all the space that is left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, zeros{}); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v, want no space left", err)
	}
}

// zeros never end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
