//go:build !unix

package mototest

import "syscall"

func ownGroup() *syscall.SysProcAttr { return nil }
