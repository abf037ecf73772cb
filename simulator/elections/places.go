package elections

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// stateProfile says roughly how large a state is and how it leans. Names,
// numbers of county equivalents, seats and districts are the true ones;
// precincts, voters and leans are rounded from the general election of 2020.
type stateProfile struct {
	id, name  string
	counties  int
	precincts int
	house     int // districts of the U.S. House
	upper     int // districts of the upper chamber
	lower     int // districts of the lower chamber
	voters    int // votes for President, thousands
	lean      int // Democratic minus Republican share, points
}

var unionProfiles = []stateProfile{
	{"al", "Alabama", 67, 1972, 7, 35, 105, 2325, -25}, {"ak", "Alaska", 30, 441, 1, 20, 40, 361, -10},
	{"az", "Arizona", 15, 1489, 9, 30, 30, 3397, 0}, {"ar", "Arkansas", 75, 2591, 4, 35, 100, 1219, -28},
	{"ca", "California", 58, 20044, 52, 40, 80, 17501, 29}, {"co", "Colorado", 64, 3215, 8, 35, 65, 3280, 13},
	{"ct", "Connecticut", 8, 741, 5, 36, 151, 1824, 20}, {"de", "Delaware", 3, 434, 1, 21, 41, 504, 19},
	{"dc", "District of Columbia", 1, 144, 1, 0, 0, 344, 87}, {"fl", "Florida", 67, 6010, 28, 40, 120, 11067, -3},
	{"ga", "Georgia", 159, 2656, 14, 56, 180, 4998, 0}, {"hi", "Hawaii", 5, 262, 2, 25, 51, 574, 29},
	{"id", "Idaho", 44, 935, 2, 35, 35, 868, -31}, {"il", "Illinois", 102, 10083, 17, 59, 118, 6034, 17},
	{"in", "Indiana", 92, 5166, 9, 50, 100, 3033, -16}, {"ia", "Iowa", 99, 1661, 4, 50, 100, 1691, -8},
	{"ks", "Kansas", 105, 4070, 4, 40, 125, 1372, -15}, {"ky", "Kentucky", 120, 3632, 6, 38, 100, 2137, -26},
	{"la", "Louisiana", 64, 3934, 6, 39, 105, 2148, -19}, {"me", "Maine", 16, 573, 2, 35, 151, 819, 9},
	{"md", "Maryland", 24, 2051, 8, 47, 71, 3037, 33}, {"ma", "Massachusetts", 14, 2173, 9, 40, 160, 3658, 33},
	{"mi", "Michigan", 83, 4756, 13, 38, 110, 5539, 3}, {"mn", "Minnesota", 87, 4110, 8, 67, 134, 3277, 7},
	{"ms", "Mississippi", 82, 1834, 4, 52, 122, 1313, -17}, {"mo", "Missouri", 115, 3685, 8, 34, 163, 3026, -15},
	{"mt", "Montana", 56, 667, 2, 50, 100, 604, -16}, {"ne", "Nebraska", 93, 1390, 3, 49, 0, 956, -19},
	{"nv", "Nevada", 17, 2094, 4, 21, 42, 1405, 2}, {"nh", "New Hampshire", 10, 321, 2, 24, 204, 806, 7},
	{"nj", "New Jersey", 21, 6362, 12, 40, 40, 4549, 16}, {"nm", "New Mexico", 33, 1935, 3, 42, 70, 924, 11},
	{"ny", "New York", 62, 15356, 26, 63, 150, 8595, 23}, {"nc", "North Carolina", 100, 2660, 14, 50, 120, 5525, -1},
	{"nd", "North Dakota", 53, 422, 1, 47, 47, 362, -33}, {"oh", "Ohio", 88, 8933, 15, 33, 99, 5923, -8},
	{"ok", "Oklahoma", 77, 1948, 5, 48, 101, 1561, -33}, {"or", "Oregon", 36, 1331, 6, 30, 60, 2374, 16},
	{"pa", "Pennsylvania", 67, 9150, 17, 50, 203, 6916, 1}, {"ri", "Rhode Island", 5, 413, 2, 38, 75, 518, 21},
	{"sc", "South Carolina", 46, 2263, 7, 46, 124, 2513, -12}, {"sd", "South Dakota", 66, 689, 1, 35, 35, 423, -26},
	{"tn", "Tennessee", 95, 1962, 9, 33, 99, 3054, -23}, {"tx", "Texas", 254, 9014, 38, 31, 150, 11315, -6},
	{"ut", "Utah", 29, 2424, 4, 29, 75, 1488, -20}, {"vt", "Vermont", 14, 275, 1, 16, 109, 367, 35},
	{"va", "Virginia", 133, 2477, 11, 40, 100, 4461, 10}, {"wa", "Washington", 39, 7434, 10, 49, 49, 4088, 19},
	{"wv", "West Virginia", 55, 1693, 2, 17, 100, 795, -39}, {"wi", "Wisconsin", 72, 3698, 8, 33, 99, 3298, 1},
	{"wy", "Wyoming", 23, 482, 1, 31, 62, 277, -43},
}

// The state and the county that are generated alone are invented, so that
// nobody takes a rehearsal's page for a real one.
var (
	franklinProfile = stateProfile{"fr", "Franklin", 60, 2500, 7, 40, 110, 2600, 2}
	madisonProfile  = stateProfile{"fr", "Franklin", 1, 150, 1, 2, 4, 150, 4}
)

// apportion splits total by weight, at least one to each, by largest
// remainder: the parts add up exactly.
func apportion(total int, weights []float64) []int {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	parts := make([]int, len(weights))
	order := make([]int, len(weights))
	rest := make([]float64, len(weights))
	left := total
	for i, w := range weights {
		exact := w / sum * float64(total)
		parts[i] = max(1, int(exact))
		rest[i] = exact - math.Floor(exact)
		order[i] = i
		left -= parts[i]
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case rest[a] > rest[b]:
			return -1
		case rest[a] < rest[b]:
			return 1
		}
		return 0
	})
	for i := 0; left > 0; i = (i + 1) % len(order) {
		parts[order[i]]++
		left--
	}
	// Giving everyone at least one may have given too much.
	for left < 0 {
		largest := 0
		for i := range parts {
			if parts[i] > parts[largest] {
				largest = i
			}
		}
		parts[largest]--
		left++
	}
	return parts
}

// countyNames returns n distinct plausible names. Some are common names of
// real counties, since the true lists are not at hand; which state has which
// is left to the draw.
func countyNames(d *Draw, n int) []string {
	names := strings.Fields(commonCounties)
	for _, head := range strings.Fields(placeHeads) {
		for _, tail := range strings.Fields(placeTails) {
			names = append(names, head+tail)
		}
	}
	common := len(strings.Fields(commonCounties))
	shuffle(d, names[:common])
	shuffle(d, names[common:])
	// Half common, half made: a state of 254 counties has both.
	picked := make([]string, 0, n)
	for i := range n {
		if i%2 == 0 && i/2 < common {
			picked = append(picked, names[i/2])
		} else {
			picked = append(picked, names[common+i])
		}
	}
	slices.Sort(picked)
	return picked
}

// countyWord is what a state calls its county equivalents.
func countyWord(state string) string {
	switch state {
	case "la":
		return "Parish"
	case "ak":
		return "Borough"
	}
	return "County"
}

// unitName is the name of unit i of n in a county.
func unitName(i int) string { return fmt.Sprintf("Precinct %d", i+1) }

const commonCounties = `Washington Jefferson Franklin Jackson Lincoln Madison Montgomery Clay Union Marion Monroe Wayne Warren
Greene Grant Adams Lee Polk Marshall Carroll Lake Johnson Douglas Clark Crawford Hamilton Morgan Lawrence Perry Pike Scott
Benton Fayette Shelby Henry Hancock Mercer Randolph Knox Logan Boone Butler Calhoun Cass Columbia Cumberland Dallas Decatur
Delaware Essex Floyd Fulton Garfield Hardin Harrison Henderson Houston Howard Jasper Kent Lafayette Lewis Liberty Livingston
Macon Mason Meade Mitchell Nelson Newton Orange Osceola Otsego Ottawa Page Pierce Platte Pulaski Putnam Richland Ripley Rush
Saline Seneca Sheridan Sherman Stark Stone Sullivan Sumner Taylor Thomas Tipton Todd Trinity Troup Tyler Vernon Wabash Walker
Webster White Winston Wood Worth Wright York`

const placeHeads = `Alder Ash Bear Birch Black Bright Brook Cedar Clear Cold Copper Deer Eagle East Elk Fair Fern Fox Glen Granite
Green Harbor Hazel High Iron Juniper Maple North`

const placeTails = `ford field ton ville wood brook dale mont ridge haven burg land shore view well worth`
