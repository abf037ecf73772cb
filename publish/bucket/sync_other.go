//go:build !linux

package bucket

import "runtime"

// syncFiles makes the contents of files durable, one by one: only Linux can
// sync a file system and say whether that worked.
func syncFiles(_ string, files []string) error { return syncEach(files) }

// syncDirectories makes the names in directories durable where directories
// can be synced.
func syncDirectories(directories []string) error {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		return nil
	}
	return syncEach(directories)
}

// renameNew renames a file unless the new name is taken: fs.ErrExist.
func renameNew(from, to string) error { return linkNew(from, to) }

// spread is known only to Linux.
func spread(string) {}
