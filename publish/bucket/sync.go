package bucket

import (
	"errors"
	"os"
)

// syncEach syncs files or directories one by one.
func syncEach(paths []string) error {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// linkNew gives a file a second name unless that is taken, and takes the
// first one away.
func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}
