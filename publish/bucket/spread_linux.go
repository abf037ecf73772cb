package bucket

import (
	"os"

	"golang.org/x/sys/unix"
)

// spread asks the file system to put the directories within path far from
// each other (chattr +T). On ext4 without a journal this decides what a new
// file costs: there a search passes over the numbers of all files deleted in
// the last minutes near by, up to 8,192 of them. It is only a wish, and other
// file systems do not know it.
func spread(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return
	}
	_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|topDirectory)
}

// topDirectory is FS_TOPDIR_FL of linux/fs.h.
const topDirectory = 0x00020000
