//go:build !linux

package main

func openFiles() (uint64, error)    { return 0, errNotBuilt }
func private([]int) (uint64, error) { return 0, errNotBuilt }
func available() (uint64, error)    { return 0, errNotBuilt }
