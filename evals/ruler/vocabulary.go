package ruler

import "strings"

// The vocabulary of keys, lists and sentences. No word is in two of the lists.
var (
	adjectives = strings.Fields(`
		able amber ancient awake bitter bold brave brief bright broad calm careful cheap clean clever cloudy cold common cool
		crisp curious damp dark deep dense distant dry dusty eager early easy empty even exact faint fair famous fast fierce
		fine firm flat fond frail free fresh gentle glad golden grand grave great green grey happy hard harsh heavy hollow
		honest humble idle jolly keen kind large late lazy lean light little lively lone long loud loyal lucky mild modest
		narrow neat noble novel odd old open pale patient plain polite proud pure quick quiet rapid rare raw ready rich ripe
		rough round rural sad safe salty sharp shiny short shy silent silver simple slim slow small smooth sober soft solid
		sour spare steady steep stiff still strange strict strong sunny sweet swift tall tame tender thick thin tidy tiny
		tired vague vast vivid warm weak wet white wide wild wise wooden young`)
	nouns = strings.Fields(`
		acorn anchor apple apron arrow attic badge bag ball banner barn barrel basin basket beach bean bear bell bench berry
		bird blanket boat bone book boot bottle bowl box branch bread brick bridge broom brush bucket button cabin cable cake
		candle canoe canvas carpet carrot cart castle cave chain chair chalk cherry chest chimney circle clay clock cloth cloud
		coat coin comb copper cord corn cotton cradle crane crow crown cup curtain desk door dove drawer dress drum duck eagle
		engine envelope fan farm feather fence fern field finger flag flame flask flour flute forest fork fountain fox frame
		frog garden gate glass glove goat grape guitar hammer harbour harp hat hedge helmet hill honey hook horn horse house
		island jacket jar jewel kettle key kite kitten knife ladder lake lamp lantern leaf lemon letter library lion lock
		magnet map market mask meadow melon mill mirror moon moss mountain mouse museum needle nest nut oak oar onion orange
		orchard oven owl paddle page palace paper parrot path peach pear pebble pen pencil pepper piano picture pillow pine
		pipe plate plum pocket pond pony potato pump quilt rabbit radio raft rail rake raven ribbon ring river road robe rock
		roof rope rose rug saddle sail salt sand scarf school seed shell ship shirt shoe shovel sieve silk skirt sleeve snail
		snow soap sock spade spear spider spoon spring squirrel stable stair star statue stone stool stove straw stream string
		sugar sword table tailor tent thread ticket tiger tile toad tomato torch towel tower trail train tray treasure tree
		trumpet tunnel turtle umbrella valley vase veil village violin wagon wall walnut wave weaver wheel whistle willow window
		wing wolf wool yard zebra`)
	verbs = strings.Fields(`
		admires answers awaits blesses borrows builds buries buys carries catches cleans climbs collects counts covers crosses
		describes draws drops enters explains fears feeds finds follows forgets gathers greets guards hears hides holds imagines
		joins keeps leaves lifts likes loses loves measures meets mends misses moves needs notices offers owns paints passes
		pays praises pulls pushes reaches remembers repairs returns saves sees sells sends shows studies takes teaches thanks
		touches trusts turns understands visits wants washes watches wears`)
	adverbs = strings.Fields(`
		again almost already always better carefully closely daily gladly hardly indeed later never nowadays often once quickly
		quietly rarely seldom slowly sometimes soon suddenly then today twice usually well yearly`)
	links   = strings.Fields("and because before but since until when where while")
	trades  = strings.Fields("baker barber blacksmith bookbinder brewer carpenter clockmaker cook cooper gardener glazier goldsmith hatter mason miller painter potter printer saddler sculptor shipwright surveyor tanner tinsmith translator")
	endings = strings.Fields("berg brook burgh bury combe dale ford gate ham haven holm ingen mere mouth stad stead stoke ton vik wick worth")
	// syllables of names.
	syllables = strings.Fields("al an ar bel bo bri cal da den dor el en fa fen gar gil ha hol in is jo jul ka kel la len lo ma mi mor na nel no ol or pa per qui ra ril ro sa sel sto ta ten tor ul va vel vi wen xa yor za zel")
	companies = strings.Fields("Bank Brewery Brothers Foundry Instruments Mills Optics Pharmacy Pottery Press Railway Shipyard Textiles Theatre Workshop")
)

// sentence is one of a small grammar: it has a meaning, but none that matters.
func sentence(r *source) string {
	s := clause(r)
	if r.IntN(2) == 0 {
		s += " " + pick(r, links) + " " + clause(r)
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

func clause(r *source) string {
	s := thing(r) + " "
	if r.IntN(3) == 0 {
		s += pick(r, adverbs) + " "
	}
	return s + pick(r, verbs) + " " + thing(r)
}

func thing(r *source) string {
	article := pick(r, []string{"the", "the", "this", "every", "another", "one"})
	if r.IntN(2) == 0 {
		return article + " " + pick(r, nouns)
	}
	return article + " " + pick(r, adjectives) + " " + pick(r, nouns)
}
