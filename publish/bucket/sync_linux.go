package bucket

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// fewSyncs is how many files or directories are synced one by one. Each costs
// a commit of the file system's journal; one sync of the whole file system
// costs about as much as a few, however many files there are.
const fewSyncs = 2

// syncFiles makes the contents of files durable. They lie in directory.
func syncFiles(directory string, files []string) error {
	if len(files) > fewSyncs {
		return syncFileSystem(directory)
	}
	return syncEach(files)
}

// syncDirectories makes the names in directories durable. They lie in one
// file system.
func syncDirectories(directories []string) error {
	if len(directories) > fewSyncs {
		return syncFileSystem(directories[0])
	}
	return syncEach(directories)
}

// syncFileSystem syncs the file system of path. Since Linux 5.8 it reports
// the failure of any write since path was opened, also of others' files: then
// the batch fails without need, which is safe.
func syncFileSystem(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return errors.Join(fmt.Errorf("syncing the file system of %s: %w", path, err), f.Close())
	}
	return f.Close()
}

// renameNew renames a file unless the new name is taken: fs.ErrExist.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return linkNew(from, to) // an old kernel or a file system without it
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}
