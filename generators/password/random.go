package password

import (
	"crypto/rand"
	"encoding/binary"
	"math"
)

// below returns a number from 0 to n-1, all with equal chances. What is drawn from the
// end of the range that n does not divide is drawn again: a remainder alone would
// favour small numbers.
func below(n int) int {
	limit := math.MaxUint64 - math.MaxUint64%uint64(n)
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // it never fails
		if v := binary.NativeEndian.Uint64(b[:]); v < limit {
			return int(v % uint64(n))
		}
	}
}
