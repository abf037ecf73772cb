package main

type millionCommand struct{}

func (millionCommand) Run() error { return errNotBuilt }
