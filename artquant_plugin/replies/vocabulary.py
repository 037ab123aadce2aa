"""The words with which scores are told, by their meaning, in the languages that models answer in.

Each constant is a list of alternatives in the syntax of regular expressions, to be put in a group, and matched without
regard to case. Names that end in ``_CJK`` hold words of scripts that set no spaces between words, so that no word
boundary can be asked for.
"""

# Words that name a score and nothing else.
LABELS = (
    r"scores?|rating|rate|grade"
    r"|bewertung|gesamtbewertung|endbewertung|punktzahl|wertung|gesamtnote"  # German
    r"|évaluation|evaluation|notation"  # French
    r"|puntuaci[óo]n|calificaci[óo]n|puntaje|valoraci[óo]n|nota"  # Spanish; the last Portuguese, too
    r"|pontuaç[ãa]o|avaliaç[ãa]o|classificaç[ãa]o"  # Portuguese
    r"|punteggio|voto|valutazione"  # Italian
    r"|оценк[аиуе]|оцінка|балл|рейтинг"  # Russian, Ukrainian
    r"|cijfer|beoordeling|ocena|wynik|puan(?:ım)?|skor|betyg|hodnocení|điểm(?: số)?|nilai|βαθμολογία"
    r"|التقييم|تقييم|الدرجة|درجة|النتيجة|نتيجة|امتیاز|نمره|ציון|דירוג|स्कोर|अंक|रेटिंग|คะแนน"
)
# Words that name a score, in scripts without spaces between words.
LABELS_CJK = (
    r"评分|評分|给分|得分|分数|分數|总分|總分|打分|评级|評級|综合评价"
    r"|スコア|点数|評価|評点|採点|得点|점수|평점|평가|별점"
)
# Words that name a score only where the number ends the clause or has a scale: "Note: 7/10", not "Note: 3 boats".
WEAK_LABELS = (
    r"overall|total|final|answer|verdict|result|note|mark|points?|punkte|(?<!image )quality|aesthetics?|beauty"
    r"|итого?|resultado|ergebnis"
)

# Words in front of a score that is not the painting's: it rates one aspect, or is an average or the model's certainty.
ASPECTS = (
    r"composition\w*|colou?rs?|technique|technical|emotion\w*|percept\w*|cogniti\w*|confidence|certainty|creativity"
    r"|originality|lighting|style|mood|theme|content|brush\w*|texture|subject|similarity|relevance|readability|detail"
    r"|average|mean|previous|other|max(?:imum)?|min(?:imum)?|highest|lowest|possible|impact|significance|appeal"
    r"|execution|skill"
    r"|resonance|engagement|complexity|innovation|perspective|line|form|harmony|balance|symbolism|narrative"
    r"|space|depth|contrast|expression|effort|ambition|draw(?:ing|n)|craft\w*|rendering|palette|anatomy"
    r"|komposition|farb\w*|technik|couleurs?|composición|composição|composizione|colore"
)
# Words in front of "points" with which the points are no score: "2 strong points".
SOME_POINTS = r"key|strong|weak|main|selling|good|bad"
ASPECTS_CJK = r"构图|構圖|色彩|颜色|技巧|技法|情感|情绪|创意|感知|认知|信心|置信|光影|構図|구도|색채|기법|감정"

# Words between a label and its number that say whose score it is.
OBJECT = (
    r"for|of|to|it|this|that|the|my|your|its|painting|image|picture|artwork|art|work|piece|overall|aesthetics?"
    r"|quality"
    r"|i|would|i'd|give|assign|für|dieses|das|bild|gemälde|pour|cette|peinture|de|esta|este|la|obra|pintura|para|per"
    r"|questo|dipinto|globale?|finale?|générale?|general|этой|этого|картины"
)
CONNECTORS = (
    r"=>|->|[:=|]|\b(?:is|are|was|be|of|at|as|an?|ist|von|beträgt|est|de|es|sería|di)\b|\s[–—-]\s|[–—]|è|é|\bравна\b"
    r"|\bсоставляет\b|为|為|是|は|が|은|는|이|هي|هو|है"
)
ABOUT = (
    r"\b(?:about|around|approximately|roughly|circa|etwa|environ|sobre|cerca de|an?|solid|strong|respectable"
    r"|generous)\b|\b(?:approx|ca)\.?|~|≈|約|约"
)

# Verbs whose number is a score.
VERBS = (
    r"give|giving|gave|rate|rated|score|scored|assign|award|grade|gets?|deserves?|merits?|earns?|say"
    r"|gebe|vergebe|würde|bewerte|donne|donnerais|attribue|attribuerais|noterais|doy|daría|otorgo|otorgaría|pondría"
    r"|dou|daria|atribuo|darei|assegno|assegnerei|ставлю|поставила?|оцениваю|оценила?|дала?|дам|cho|geef|daję"
)
VERBS_CJK = r"打|给|給|评|評|得"
CLOSINGS_CJK = r"を?(?:つけ|付け|与え)|です|である|을?\s?(?:주|드리|매기|매길)|입니다|이다"

PERCENT = r"%|(?:per ?cent|prozent)\b"
UNITS = r"分|点|點|점|(?:points?|pts?|punkten?|puntos?|pontos?|punti|балл(?:ов|а)?)\b"
STARS = r"stars?\b|sterne?\b|étoiles?\b|estrellas?\b|estrelas?\b|звезды?\b|星|별"
# What stands before the top of a scale: "7 out of 10".
OUT_OF = r"out of(?: a)?(?: possible| maximum(?: of)?)?|of|von|sur|de|su|из|van de|na|em|sobre|av|af|من"
SCALE = r"scale|skala|schaal|échelle|echelle|escala|scala|шкал\w*|满分|滿分|満点|만점|out of|max\w*"
# What stands between the ends of a range.
TO = r"[^\S\n]*(?:-|–|—|~|〜|至|到|或|から)[^\S\n]*|[^\S\n]+(?:to|bis|à|al?|до|or|oder|ou|o|или)[^\S\n]+"
AND = r"and|und|et|y|e|и"
BETWEEN = r"between|zwischen|entre|tra|между"

# Words in front of a number that is an end of a scale or a bound, and not a score.
BOUNDS = r"from|to|out of|between|than|least|most|under|over|above|below|bis|jusqu'à|hasta|até|fino a"
# Whoever gives a number here is not the model. What they would give counts where the model gives none of its own, as
# the question is about what people think; what they gave, or what a site says, is another score.
OTHERS = r"critics?|people|others|viewers?|they|he|she|audiences?|experts?|some|many|most|you|someone"
RATERS = (
    r"visitors?|critics?|users?|audiences?|public|museums?|reviewers?|experts?|communit(?:y|ies)|crowd|fans?"
    r"|judges?|jury"
    r"|curators?|historians?|students?|buyers?|customers?|raters?|readers?|voters?|annotators?|humans?|people|others?"
    r"|viewers?|they|somebody|someone|some|many|everyone|imdb|tripadvisor|google|rotten tomatoes|metacritic|wikiart"
    r"|artstation|deviantart|chatgpt|gpt[\w.-]{0,12}|gemini|(?:an)?other (?:ai |language )?models?|previous model"
    r"|catalogues?"
    r"|besucher\w*|kritiker\w*|visiteurs?|critiques?|visitantes?|críticos?|观众|网友|用户|游客|评论家|来館者|観客|관객"
)
# Others whose numbers never count, neither what they gave nor what they would give ("a friend would say 9").
SOMEBODY = (
    r"friends?|teachers?|professors?|colleagues?|parents?|mother|father|wife|husband|neighbou?rs?|polls?|surveys?|wikipedia"
    r"|goodreads|galler(?:y|ies)|owners?|sellers?|auctions?|contests?|competitions?"
)
REPORTED_VERBS = r"gave|rated|scored|awarded|assigned|graded|says?|said|has|have|had|lists?|reports?"
# Words for an earlier score, which no longer counts. Those of `EARLIER` stand right in front of a label ("initial
# score"), while up to three words may stand between those of `FORMERLY` and the label.
EARLIER = (
    r"initial|first(?: impression)?|drafts?|previous|earlier|original|old|prior|preliminary|tentative|provisional"
    r"|starting"
    r"|baseline|base|second|third|ursprüngliche|vorläufige|erste[rsn]?|initiale?|première|préalable|provisoire|inicial|previa"
    r"|prévia"
    r"|iniziale"
)
FORMERLY = (
    r"initially|first impressions?(?: is| was)?|previously|earlier|originally|tentatively|provisionally|before"
    r"|at first"
    r"|last (?:year|time|week|month)|yesterday|anfangs|ursprünglich|vorläufig"
)
EARLIER_CJK = r"最初|初始|初步|之前|先前|처음"
# Words with which a model announces that it changes the score that it gave before.
REVISED = (
    r"on (?:second thoughts?|reflection)|reflection|actually|wait|hmm+|no,|correction|correct(?:ed|ing)|revis\w+"
    r"|reconsider\w*"
    r"|make (?:that|it)|i mean|scratch that|chang(?:e|ed|ing)|adjust\w*|upgrad\w+|downgrad\w+|lower(?:ed|ing)?"
    r"|rais(?:e|ed|ing)"
    r"|instead(?! of)|rather(?! than)|now|updat\w+|final(?:ly)?|or is it|perhaps|penalt\w+|bonus|take off"
    r"|deduct\w*|korrektur"
    r"|korrigiert|corrig\w+|更正|修正"
)
# Words in front of or behind a number that say that it is the score that counts.
FINAL = (
    r"final(?:ly)?|overall|conclu\w+|verdict|in (?:all|total|the end|sum)|altogether|correct(?:ed|ion)|revised"
    r"|updated|adjusted"
    r"|therefore|thus|hence|so|my|mine|total|insgesamt|gesamt\w*|end(?:bewertung|note)|globale?|générale?|finale?"
    r"|definitiv\w*|итог\w*|общая|total[ea]?"
)
FINAL_CJK = r"总|總|综合|綜合|最终|最終|最後|最后|総合|종합|최종"
# Words for other paintings, and for what paintings are given in general.
OTHER_PAINTINGS = (
    r"(?:similar|other|typical|most|average|comparable|such|many|some|these|those|another|previous|next|second"
    r"|third|ideal"
    r"|perfect|companion|neighbouring|neighboring|adjacent|both|all|great|greatest|better|lesser|weaker|stronger"
    r"|last)\s+"
    r"(?:[^\W\d]+\s+){0,2}?(?:works?|paintings?|pieces?|pictures?|images?|artworks?|ones?|portraits?|landscapes?"
    r"|still lifes?"
    r"|canvas(?:es)?|masterpieces?|arts?)"
    r"|(?:compared (?:to|with)|unlike|than)\s+(?:other\s+)?(?:works|paintings|pieces|pictures|images|artworks|ones)"
    r"|(?:his|her|their)\s+(?:other\s+)?(?:works|paintings|pieces|pictures)"
    r"|usually|typically|generally|normally|often|commonly|tends? to|rubric"
    r"|(?:painting|image|picture|artwork|no\.)\s*#?\s*(?:[2-9]|\d\d+)"
)
# Words behind a number in a legend. `LEGEND_VERBS` introduce what such a score means; `LEGEND_ENDS` name the ends of
# the scale, and a model does not say them of its own score.
LEGEND_VERBS = (
    r"means?|being|indicates?|represents?|denotes?|stands? for|signif\w+|corresponds? to|is reserved|are reserved"
)
LEGEND_ENDS = (
    r"worst|best|lowest|highest|minimum|maximum|min|max|no merit|masterpieces?|failures?|not at all|bottom|top"
)
# A number under a condition ("if the colours were better, I'd give it a 9", "a 10 would require more") counts where
# the model gives no other one.
CONDITIONS = r"if|had|unless|to (?:reach|get|earn|deserve|achieve)|considered|considering|tempted|going to|wenn|si|se"
CONDITIONAL = (
    r"if|would|could|might|means?|requires?|needs?|(?:is|are) (?:reserved|average|perfect|for)|represents?|unless"
    r"|wenn|si"
)
# Words for a picture that a number may follow: "painting 3".
NUMBERED = r"painting|image|picture|artwork|work|piece|\bno\.?|bild|gemälde|peinture|obra|dipinto"
# Words of the names that objects around a score have where it is the answer's: {"result": {"score": 7}}.
ANSWER_KEYS = frozenset(
    "the my this that your of for and to in 0 1 answer answers result results response responses reply output "
    "outputs evaluation evaluations assessment assessments rating ratings score scores scoring grade grading "
    "judgment judgement judgments verdict analysis review reviews critique opinion appraisal conclusion "
    "summary report estimate prediction predictions predicted estimated final overall total whole global "
    "painting paintings image images picture artwork artworks art work works piece aesthetic aesthetics "
    "quality beauty data content message json object item items value values metadata info information details "
    "payload body return returned arguments parameters params input function tool call name properties model "
    "assistant completion choices task title artist artquant".split()
)
# Words for a painting that the model only imagines or compares this one with.
IMAGINED = (
    r"alternat(?:ives?|e)|counterfactual\w*|hypothe(?:tical\w*|sis)|imagin(?:ed|ary)|fictional|ideal|potential|reference"
    r"|comparisons?|compared|benchmark|target|goal|unlike|contrast|(?:improved|brighter|darker|restored|edited|better"
    r"|worse|modified)(?: version)?|variants?|versions?|scenarios?|similar|would be|what if"
)
EXAMPLE = (
    r"for (?:example|instance)|examples?|e\.g\.|such as|something like|looks? like(?: this)?|like this|sample"
    r"|template|placeholder"
    r"|zum beispiel|beispiel\w*|z\. ?b\.|par exemple|exemples?|por ejemplo|ejemplos?|por exemplo|exemplos?"
    r"|ad esempio|esempio"
    r"|наприклад|например|пример\w*"
)
EXAMPLE_CJK = r"例如|比如|示例|例子|例えば|예를 들어|예시"
# What a number counts where it is no score.
COUNTED_THINGS = (
    r"votes?|reviews?|ratings|reviewers?|people|persons?|viewers?|visitors?|critics?|times|awards?|prizes?|years?"
    r"|months?|days?"
    r"|hours?|minutes?|cm|mm|m|km|inch(?:es)?|feet|ft|met(?:re|er)s?|euros?|dollars?|million|billion|figures?"
    r"|colou?rs?|criteria"
    r"|aspects?|levels?|categories|reasons?|percentile|things|others?|singers?|paintings?|images?|pictures?|works?"
    r"|jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:tember)?|oct(?:ober)?"
    r"|nov(?:ember)?"
    r"|dec(?:ember)?"
)
NEGATORS = (
    r"can(?:not|'t)|(?:would|could|do|does|did|should|is)n't|instead of|rather than"
    r"|unable to|not|never|won't|refuse to|nicht|无法|不能"
)
