//go:build unix

package stream

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestALockThatIsGivenBackIsFreeThoughAProcessBeingStartedHasACopy: between
// fork and exec a child has all open files of its parent, close-on-exec or not.
func TestALockThatIsGivenBackIsFreeThoughAProcessBeingStartedHasACopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := lockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fork, err := unix.Dup(int(first.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fork)
	if err := unlockFile(first); err != nil {
		t.Fatal(err)
	}
	again, err := lockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := unlockFile(again); err != nil {
		t.Fatal(err)
	}
}
