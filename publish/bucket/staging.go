package bucket

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	// stagingName is the directory, within the bucket, of files that have no
	// key yet. Keys cannot name it.
	stagingName = ".staging"
	// abandoned is how old a staged file is when its process must be gone.
	abandoned = time.Hour
	// roomFiles is how many files are staged in one room.
	roomFiles = 2048
)

// staging is where objects are written before they get their keys. Each
// process has a room in it, a directory of its own, and changes it now and
// then: file systems put a file near its directory, and where many files were
// deleted lately, by Replace too, making new ones can be slow (see spread).
type staging struct {
	path string

	mu    sync.Mutex // guards what follows
	room  string     // empty until needed
	left  string     // the room before
	files int        // staged in this room
}

func openStaging(root string) (*staging, error) {
	s := &staging{path: filepath.Join(root, stagingName)}
	if err := os.MkdirAll(s.path, 0o755); err != nil {
		return nil, err
	}
	spread(s.path)
	return s, s.sweep(time.Now().Add(-abandoned))
}

// reserve returns n paths that nobody else will use.
func (s *staging) reserve(n int) (func(i int) string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter(); err != nil {
		return nil, err
	}
	room, first := s.room, s.files
	s.files += n
	return func(i int) string { return room + string(filepath.Separator) + strconv.Itoa(first+i) }, nil
}

// enter sees to it that there is a room with space. The caller holds mu.
func (s *staging) enter() error {
	if s.room != "" && s.files < roomFiles {
		_, err := os.Stat(s.room)
		if !errors.Is(err, fs.ErrNotExist) { // swept, after a long rest
			return err
		}
	}
	room, err := os.MkdirTemp(s.path, "room-")
	if err != nil {
		return fmt.Errorf("making a staging room: %w", err)
	}
	if s.left != "" {
		_ = os.Remove(s.left) // if it is not empty yet, a sweep takes it
	}
	s.left, s.room, s.files = s.room, room, 0
	return nil
}

// sweep removes rooms that nobody has used since the given time: what
// processes left that died before naming their files. Nobody can have seen
// those.
func (s *staging) sweep(before time.Time) error {
	rooms, err := os.ReadDir(s.path)
	if err != nil {
		return err
	}
	for _, room := range rooms {
		info, err := room.Info()
		if err == nil && info.ModTime().Before(before) {
			err = os.RemoveAll(filepath.Join(s.path, room.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
