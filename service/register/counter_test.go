package register_test

import (
	"context"
	"strconv"

	"tallystream/service/register"
)

// counter is a number in a register.
type counter struct{ r register.Register }

const counterName = "counter"

func (c counter) read() (n int, value []byte, err error) {
	value, err = c.r.Load(context.Background(), counterName)
	if err != nil || value == nil {
		return 0, nil, err
	}
	n, err = strconv.Atoi(string(value))
	return n, value, err
}

// raise adds one and returns the number written.
func (c counter) raise() (int, error) {
	n, before, err := c.read()
	if err != nil {
		return 0, err
	}
	return n + 1, c.r.Swap(context.Background(), counterName, before, strconv.AppendInt(nil, int64(n+1), 10))
}
