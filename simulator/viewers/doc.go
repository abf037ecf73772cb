// Package viewers is a load of live viewers: as many connections as wanted,
// from several processes of this program, each as small as the kernel allows.
//
// Invariant: a run is called good only if every viewer was there at the end,
// every frame that any of them got follows from the one before, every hash that
// was checked was right, and nobody was left behind the newest version. What
// a viewer may count on is written in schemas/frames.go and fanout/viewer; it is
// checked here with the same rule, not with a kinder one.
//
// The crowd (crowd.go and what it uses) knows no network and no clock: it is
// told what happened and says what to send. drive_linux.go moves bytes with
// epoll and no goroutine per connection, drive_portable.go with goroutines, for
// TLS and for other systems.
package viewers
