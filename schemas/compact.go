package schemas

import (
	"encoding/binary"
	"fmt"
)

// Rows are kept compactly as unsigned varints, cell by cell: most counts take
// one byte.

// AppendCells appends a unit's row.
func AppendCells(dst []byte, cells []Count) []byte {
	for _, n := range cells {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

// ReadCells fills cells from src, which must hold exactly as many.
func ReadCells(src []byte, cells []Count) error {
	for i := range cells {
		n, k := binary.Uvarint(src)
		if k <= 0 || n > uint64(MaxCount) {
			return fmt.Errorf("compact row: cell %d of %d is bad", i, len(cells))
		}
		cells[i], src = Count(n), src[k:]
	}
	return restOfRow(src)
}

// AppendRow appends a row of tallies, which are never negative.
func AppendRow(dst []byte, row []int64) []byte {
	for _, n := range row {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

// ReadRow fills row from src, which must hold exactly as many cells.
func ReadRow(src []byte, row []int64) error {
	for i := range row {
		n, k := binary.Uvarint(src)
		if k <= 0 || n > 1<<62 {
			return fmt.Errorf("compact row: cell %d of %d is bad", i, len(row))
		}
		row[i], src = int64(n), src[k:]
	}
	return restOfRow(src)
}

func restOfRow(src []byte) error {
	if len(src) > 0 {
		return fmt.Errorf("compact row: %d bytes too many", len(src))
	}
	return nil
}
