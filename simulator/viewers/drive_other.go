//go:build !linux

package viewers

import "context"

// drive moves the bytes of a crowd until ctx ends. Other systems than Linux have
// the driver with goroutines only: the same checks, fewer viewers a machine.
func drive(ctx context.Context, c *crowd, f *fetcher, orders <-chan func(*crowd)) error {
	return drivePortably(ctx, c, f, orders)
}
