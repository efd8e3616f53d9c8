"""Phrase tables of the synthetic `clinic-notes` corpus.

Medical phrases stand in lines of the form ``CODES: phrase; phrase``. The codes name the departments in
which a clinician would not be surprised to read the phrase (``CODES`` below); ``*`` means every department.
Phrases with several codes make the departments overlap. Braces mark slots that `clinic_notes` fills in.

Common words are preferred: a rare term splits into many sub-word tokens, and notes should be short.
"""

DEPARTMENTS: tuple[str, ...] = (
    "cardiology",
    "respiratory",
    "gastroenterology",
    "neurology",
    "orthopaedics",
    "endocrinology",
)
CODES = "CRGNOE"  # One letter a department, in the order of DEPARTMENTS.
MONTHS: tuple[str, ...] = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

# Noun phrases that can follow "seen for" or "reports".
COMPLAINTS: tuple[str, ...] = (
    "C: chest pressure on effort; skipped heart beats",
    "C: a racing heart at night; pain spreading to the {side} arm",
    "C: fainting during exercise; fluttering in the chest",
    "C: poorly controlled blood pressure; a pounding heart",
    "C: crushing pain behind the breastbone; a slow irregular pulse; angina on walking uphill",
    "R: cough with green sputum; wheeze in cold air; noisy breathing",
    "R: blood in the sputum; wheezing around cats",
    "R: loud snoring with pauses; repeated chest infections; a barking dry cough; an asthma attack",
    "R: daily rescue inhaler use; low oxygen at home",
    "G: heartburn after meals; loose stools; blood in the stool",
    "G: pain after fatty food; bloating; black stools",
    "G: trouble swallowing bread; vomiting after meals; yellow eyes and itching; upper stomach cramps",
    "G: urgent bowel movements; acid reflux",
    "N: headache with flashing lights; drooping of the {side} face; a first seizure; double vision",
    "N: slurred speech; memory lapses; trouble finding words; brief blank spells; a sudden severe headache",
    "N: a shaking {side} hand at rest; migraine twice a week",
    "O: pain in the {side} knee; a stiff {side} hip; a twisted {side} ankle; a fall onto the {side} wrist",
    "O: {side} shoulder pain when lifting; locking of the {side} knee; heel pain; a jammed {side} thumb",
    "O: a clicking {side} elbow; a sports injury to the {side} foot; joint stiffness every morning",
    "E: constant thirst; a lump in the neck; high sugar readings",
    "E: hot flushes; low sugar spells; missed periods",
    "E: weight gain around the waist; feeling cold all the time; passing water many times a night",
    "E: erratic home glucose; a growing thyroid",
    "CR: short breath on stairs; chest tightness; breathlessness lying flat; pain on deep breathing",
    "CR: waking up short of breath; reduced walking distance",
    "CG: burning chest pain at night; pain below the ribs after effort; chest pain after dinner",
    "CN: brief blackouts; dizzy spells; a collapse at home; feeling faint on standing",
    "CE: a racing pulse; leg swelling and weight gain; sweating and a fast heartbeat",
    "CO: a swollen {side} leg; cramp in the {side} calf; aching legs; {side} arm and chest wall pain",
    "RG: a hoarse morning voice; cough after meals; night cough with a sour taste; a tight throat",
    "RN: morning headache and poor sleep; weak cough; falling asleep in the daytime",
    "RO: rib pain after a fall; pain between the shoulder blades",
    "RE: sleepiness and weight gain; puffing on small effort",
    "GE: weight loss; nausea and poor appetite; constipation; weight loss despite eating well",
    "GO: {side} groin pain; a lump in the {side} groin; pain low in the back and belly",
    "GN: nausea with headache; trouble swallowing; repeated vomiting",
    "NO: numb fingers; back pain with tingling; a stiff neck; weakness of the {side} leg; unsteady walking",
    "NE: trembling hands; blurred vision; burning feet; tingling toes; mood change and slowness",
    "OE: bone pain; weak thighs; a broken wrist after a minor fall; loss of height",
    "*: tiredness; feeling generally unwell; poor sleep",
    "*: trouble coping at home; low energy; worsening symptoms",
    "*: the same symptoms as before; pain not controlled at home; fever last week; reduced appetite",
)

# Noun phrases that can follow "background of".
HISTORY: tuple[str, ...] = (
    "C: heart failure; a coronary stent; bypass surgery; an irregular heartbeat; a pacemaker; a heart attack",
    "R: asthma; chronic bronchitis; treated tuberculosis; home oxygen; sleep apnea; a collapsed lung",
    "G: reflux disease; a stomach ulcer; gallstones; colitis; fatty liver; bowel polyps",
    "N: migraine; epilepsy; an old stroke; a head injury; early dementia; nerve pain",
    "O: a hip replacement; a {side} wrist fracture; arthritis of both knees",
    "O: gout; a slipped disc; torn cartilage",
    "E: type 2 diabetes; an underactive thyroid; type 1 diabetes; thyroid surgery; low vitamin D; thin bones",
    "*: high blood pressure; smoking; obesity; anxiety; high cholesterol; kidney stones; penicillin allergy",
    "*: depression; heavy alcohol use; eczema; anemia",
    "*: poor hearing; hay fever; high uric acid; allergy to nuts",
)

# Noun phrases that can follow "examination shows".
FINDINGS: tuple[str, ...] = (
    "C: a loud heart murmur; raised troponin; an irregular pulse",
    "C: a heart rate of {rate}; a dilated left ventricle",
    "C: a new bundle block; narrowed coronary vessels; a normal treadmill test",
    "R: wheeze over both lungs; reduced air entry on the {side}; low peak flow; a shadow in the {side} lung",
    "R: coarse sounds at the {side} base; oxygen at {oxygen} percent; poor inhaler technique",
    "G: a tender upper belly; raised liver tests; a swollen liver",
    "G: gallstones on scan; an inflamed stomach lining",
    "G: a small polyp; fluid in the belly; positive stool blood test",
    "N: a weak {side} grip; slow finger tapping; a {side} visual field defect",
    "N: brisk reflexes; a small old infarct",
    "N: sharp waves on the tracing; poor recall; uneven pupils",
    "O: swelling of the {side} knee; limited {side} hip rotation",
    "O: a healed fracture line; a tender {side} heel",
    "O: a torn ligament; joint space narrowing; pain on {side} shoulder lift; a loose {side} kneecap",
    "E: raised thyroid hormone; fasting sugar of {sugar}; a smooth goiter",
    "E: low cortisol; thin skin with bruises",
    "E: low calcium; poor long term glucose control; a small thyroid nodule",
    "CR: fluid on the {side} lung; ankle swelling with crackles",
    "CR: low oxygen after walking; an enlarged heart shadow",
    "CG: a tender chest wall; an enlarged liver edge; normal tracing and mild anemia",
    "CN: a pressure drop on standing; a narrowed neck artery; unequal arm pressures",
    "CE: a fast regular pulse; high cholesterol; low potassium; pressure of {pressure}",
    "CO: a cool {side} foot; a swollen {side} calf; weak foot pulses",
    "RG: a red throat; an irritated voice box; coated tongue",
    "RN: shallow breathing; weak neck muscles; low night oxygen",
    "RO: a cracked {side} rib; a curved spine",
    "GE: low iron; dry skin and weight of {weight}; raised blood fats; a soft belly",
    "GN: signs of dehydration; low vitamin levels; a pale face and slow pulse",
    "NO: reduced feeling in the {side} foot; a positive leg raise",
    "NO: a wasted {side} hand; reduced neck movement",
    "NE: a fine tremor; absent ankle reflexes; narrowed side vision; slow reflexes",
    "OE: low bone density; a crushed vertebra; raised alkaline marker; tender muscles",
    "*: normal routine bloods; mild anemia; stable weight",
    "*: no fever; nothing new; slightly raised inflammation",
    "*: normal examination; clear urine; low mood",
    "*: good general state; pressure of {pressure}; pulse of {rate}",
)

# Verb phrases that can follow "we will".
PLANS: tuple[str, ...] = (
    "C: book a heart scan; arrange a coronary angiogram; fit a rhythm monitor; increase the beta blocker",
    "C: start a statin and aspirin; list for a stent; refer to heart failure nurse",
    "R: start a new inhaler; book lung function tests; arrange a chest scan; refer for lung rehabilitation",
    "R: send sputum for culture; set up a sleep study; wean the oxygen",
    "G: book a colonoscopy; arrange an endoscopy; try a low fat diet",
    "G: test for celiac disease; scan the liver",
    "G: start acid blockers; send a stool sample",
    "N: book a brain scan; arrange a brain wave test; start migraine tablets; raise the seizure medicine",
    "N: repeat the memory test; refer to the stroke team; test nerve speed",
    "O: fit a {side} knee brace; apply a cast; list for joint replacement; inject the {side} shoulder",
    "O: order crutches; remove the {side} wrist plate; keep weight off the {side} foot",
    "E: adjust the insulin dose; repeat thyroid tests; scan the thyroid",
    "E: start metformin; teach glucose checks",
    "E: check morning cortisol; refer to the diabetes nurse",
    "CR: get a chest film; give a water tablet; offer a walking test; support stopping smoking",
    "CG: change the pain relief after meals; hold aspirin; repeat iron and tracing",
    "CN: start blood thinners; scan the neck arteries; do a tilt table test; advise against driving",
    "CE: lower cholesterol; check potassium again; review salt intake; log home pressure",
    "CO: scan the leg veins; wear support stockings; build up walking slowly",
    "RG: raise the head of the bed; treat throat irritation; ask ear nose and throat",
    "RN: check breathing overnight; ask for speech therapy",
    "RO: give breathing exercises; give rib pain relief",
    "GE: ask the dietitian for a meal plan; replace iron; check vitamin levels; plan weight reduction",
    "GN: give anti sickness tablets; replace fluids; test swallowing",
    "NO: scan the lower back; start nerve pain tablets; arrange balance training; ask the spine surgeon",
    "NE: check foot feeling yearly; test vision; reduce the tremor dose",
    "OE: arrange a bone density scan; start calcium; add vitamin D; begin bone treatment",
    "RGOE: taper the steroids; give a short steroid course",
    "*: repeat bloods; review again in clinic; continue present medication",
    "*: discharge to family doctor; observe overnight",
    "*: start exercise therapy; offer simple pain relief; discuss results by phone",
    "*: chase the results; book follow up",
)


def _options(text: str) -> tuple[str, ...]:
    return tuple(text.split("; "))


# Fillers of the small slots. None of them depends on the department.
FILLERS: dict[str, tuple[str, ...]] = {
    "side": _options("left; right"),
    "rate": _options("52; 58; 66; 74; 88; 96; 104; 112; 120"),
    "oxygen": _options("86; 88; 89; 90; 91; 92; 93"),
    "sugar": _options("7; 8; 9; 10; 12; 14"),
    "weight": _options("48 kg; 55 kg; 62 kg; 70 kg; 81 kg; 94 kg"),
    "pressure": _options("105/60; 118/70; 130/80; 142/85; 150/90; 165/95; 178/100"),
    "wait": _options("two weeks; four weeks; six weeks; two months; three months; half a year; ten days"),
    "duration": _options(
        "two days; three days; a week; ten days; two weeks; three weeks; a month; six weeks; two months; "
        "three months; half a year; a year; five days; four months"
    ),
    "years": _options("two years; five years; ten years; many years; several years; most of a lifetime"),
    "course": _options(
        "getting worse; now improving; on and off; unchanged; mainly at night; mostly mornings; "
        "worse this week; slowly settling; limiting work; stable overall"
    ),
    "person": _options(
        "woman; man; patient; lady; gentleman; office worker; teacher; driver; shop worker; cook; clerk; builder"
    ),
    "relative": _options(
        "wife; husband; daughter; son; sister; brother; niece; nephew; neighbor; partner; carer; friend"
    ),
    "staff": _options("Dr; nurse; consultant; registrar; ward clerk; social worker; therapist"),
    "place": _options("ward 2; ward 4; ward 7; room 12; room 15; the day unit; clinic B; the annex; bay 3; bay 6"),
    "opening": _options("today; this morning; on arrival; overnight; on the ward; in clinic; at review"),
}

# Clause templates. The first letter is capitalised where a clause opens a sentence.
COMPLAINT_TEMPLATES: tuple[str, ...] = (
    "{name}, {age}, seen for {complaint}",
    "{name} reports {complaint} for {duration}",
    "{name} presents with {complaint}, {course}",
    "{person} of {age} with {complaint} for {duration}",
    "{age} year old {person}, {complaint} and {complaint}",
    "referred by Dr {name} because of {complaint}",
    "main concern is {complaint}, {course}",
    "came in with {complaint} since {date}",
    "c/o {complaint}, {duration}, {course}",
    "{complaint} over {duration} in a {age} year old {person}",
    "{complaint}, {course}, brought in by {relative}",
    "admitted from home with {complaint} after {duration}",
    "{age} y/o {person}: {complaint}",
    "the {relative} of {name} describes {complaint}",
    "return visit, still {complaint}, {course}",
    "{name} ({age}) {opening}: {complaint}",
    "problem list: {complaint}, {complaint}",
    "asked by {place} to see {name} for {complaint}",
    "{complaint} first noticed {duration} ago",
    "could not work for {duration} due to {complaint}",
)
HISTORY_TEMPLATES: tuple[str, ...] = (
    "background of {history}",
    "past history of {history} and {history}",
    "PMH {history}",
    "{history} noted before",
    "has lived with {history} for {years}",
    "previously treated elsewhere, {history}",
    "known: {history}, {history}",
    "family history of {history}",
    "old records mention {history}",
    "on file since {date}: {history}",
)
FINDING_TEMPLATES: tuple[str, ...] = (
    "examination shows {finding}",
    "{finding} {opening}",
    "{opening} {finding}",
    "found {finding} and {finding}",
    "o/e {finding}",
    "notable for {finding}",
    "results: {finding}",
    "{finding}, otherwise all normal",
    "tests on {date} gave {finding}",
    "{staff} {name} noted {finding}",
    "review reveals {finding}, {course}",
    "seen in {place} with {finding}",
)
PLAN_TEMPLATES: tuple[str, ...] = (
    "plan: {plan}",
    "we will {plan}",
    "team agreed to {plan}",
    "next step is to {plan}",
    "{plan}, then {plan}",
    "{plan} before {date}",
    "{staff} {name} to {plan}",
    "{relative} happy for us to {plan}",
    "to {plan} within {wait}",
    "{plan} if no better after {wait}",
    "decision {opening}: {plan}",
    "{plan}",
)
CONTACT_TEMPLATES: tuple[str, ...] = (
    "call {relative} {name} on {phone}",
    "{relative} can be reached at {phone}",
    "tel {phone}",
    "results to {email}",
    "please write to {email}",
    "next of kin {name}, {phone}",
    "phone {phone} after hours",
    "prefers email, {email}",
    "{relative} {name} informed",
    "ring {phone} with any change",
    "contact is {name}, the {relative}",
    "letter copied to {email}",
    "{relative} left the number {phone}",
    "messages go to {name}",
)
ADMIN_TEMPLATES: tuple[str, ...] = (
    "MRN {identifier}",
    "{name}, MRN {identifier}",
    "file {identifier}, seen {date}",
    "record {identifier} updated by {name}",
    "next visit {date}",
    "appointment on {date} with Dr {name}",
    "discharge planned {date}",
    "signed {name}, {date}",
    "dictated by {staff} {name}",
    "patient number {identifier}",
    "transferred to {place} on {date}",
    "booked for {date} in {place}",
    "chart {identifier} kept in {place}",
    "attending: {name}",
    "consent signed {date}",
    "insurance form {identifier} sent",
    "{name} took over care on {date}",
)

# Common names, so that all stay single tokens. No last name is the beginning of another one.
_FIRST_NAME_ROWS = (
    "Aaron Adam Alan Alice Amanda Amy Andrea Anna Anthony Arthur Barbara Ben Brian Carl Carmen Caroline",
    "Catherine Charles Chloe Clara Daniel David Diana Diego Donna Edward Elena Eleanor Emily Emma Eric",
    "Ethan Eva Felix Frank George Grace Hannah Harold Harry Helen Henry Irene Isabel Jack James Jane",
    "Jason Jean Jessica Joan Joel Jonas Jorge Julia Karen Karl Kate Kevin Laura Leo Linda Lisa Louis",
    "Lucas Lucy Luis Marco Maria Martha Martin Mary Max Michael Miguel Monica Nancy Nathan Nicole Nina",
    "Nora Oliver Oscar Paul Peter Philip Rachel Ralph Rebecca Robert Rosa Ruth Samuel Sara Simon Sofia",
    "Stella Susan Teresa Thomas Victor Vincent Walter",
)
_LAST_NAME_ROWS = (
    "Adams Allen Bailey Baker Barnes Bell Bennett Brooks Burke Butler Campbell Carter Clark Cohen Coleman",
    "Collins Cooper Cox Cruz Davies Diaz Dixon Duncan Edwards Ellis Evans Ferguson Fisher Fletcher Ford",
    "Foster Freeman Garcia Gibson Gomez Gordon Graham Grant Gray Griffin Hamilton Harper Harris Hayes",
    "Hughes Hunter Jackson Jensen Jenkins Johnson Kelly Kennedy King Larson Lewis Lopez Marsh Mason Meyer",
    "Miller Mitchell Moore Morgan Morris Murphy Murray Nelson Newman Olson Owens Parker Patel Perez Perry",
    "Porter Powell Price Quinn Reed Reyes Rivera Roberts Rogers Russell Sanders Schmidt Scott Shaw Silva",
    "Simpson Spencer Stevens Stone Sullivan Taylor Tucker Turner Wagner Walker Ward Watson Webb Wells",
    "West Wheeler Wilson Wood Wright Young",
)
FIRST_NAMES: tuple[str, ...] = tuple(" ".join(_FIRST_NAME_ROWS).split())
LAST_NAMES: tuple[str, ...] = tuple(" ".join(_LAST_NAME_ROWS).split())
