package stream

import "os"

// Fault stands between the committer and the file: it calls next to store the
// group, or does not, and says what came of it. It must be set before the
// first Append.
func (s *SQLite) Fault(fault func(records int, next func() error) error) {
	s.writer.store = func(f *file, group []*pending) error {
		return fault(len(group), func() error { return f.store(group) })
	}
}

// Unlock gives the writer's lock away, as on systems that have none.
func (s *SQLite) Unlock() error {
	err := unlockFile(s.writer.lock)
	if err == nil {
		s.writer.lock, err = os.Open(os.DevNull)
	}
	return err
}
