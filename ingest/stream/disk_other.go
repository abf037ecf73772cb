//go:build !unix

package stream

import (
	"errors"
	"io/fs"
	"os"
)

// lockFile locks nothing here. A second writer is not refused, but stays
// harmless: both number their records themselves, and the later of two
// transactions with the same number fails whole.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
}

func unlockFile(f *os.File) error { return f.Close() }

// syncDirectoryOf: directories cannot be synced here.
func syncDirectoryOf(string) error { return nil }

// syncFile makes the contents of a file durable, if there is one.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
