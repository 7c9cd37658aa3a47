"""Word lists for the texts that payloads.py makes. Each split uses its own words of each list and a common few."""

ENGLISH = """ability account action address advice agent answer archive article balance battery beacon bearing border bottle
bridge budget button cabin camera candle canvas capital carbon castle ceiling chamber chapter charge circle climate coast
column comfort command committee company compass concert contract copper corner cotton council country courage course
cradle credit crystal current custom danger daughter decade decision defence degree delay delta design detail device
dialogue dinner direction distance district doctor document dollar domain dragon drawing driver eagle earth echo economy
edition effort election element emerald empire energy engine entrance envelope episode equation escape evening evidence
example exchange expert explorer fabric factory failure farmer feature feeling festival fiction finger flavour flight
flower folder forest formula fortune frame freedom friend function furnace future galaxy garden gateway gentle glacier
granite gravity grocery guitar habit hammer harbour harvest health height heritage history horizon hospital hunter idea
image impact index industry insect insight island jacket journey judge junction jungle keeper kernel kettle kingdom
kitchen knowledge ladder lantern language layer leader legend lesson letter level library limit liquid litre lobby logic
lumber machine magnet manager margin market master matter meadow measure medal melody member memory merchant message
method mineral minute mirror mission model moment monitor morning motion mountain museum needle network nickel night
number object ocean office opinion orbit orchard order organ origin oxygen packet painter palace panel paper parade
parcel partner passage pattern payment pencil people permit phrase picture pilot planet plastic platform pocket poem
policy portal powder prairie present price printer prison problem process product profit program promise protein public
pulse puzzle quality quarter question quiet rabbit radio railway random reader reason record region relay report rescue
result reward rhythm ribbon river rocket rubber safety salmon sample satellite scale school science screen season secret
section sensor server shadow shelter signal silence silver singer sketch soldier solution source spirit spring square
stadium station statue storage story stream street student studio summer surface symbol system table talent target
teacher temple tension theatre theory thread thunder ticket timber tissue title token tower traffic treasure tunnel
turbine uncle union valley value vapour vector velvet vessel village vision volume voyage waiter wallet water weather
weekend window winter wisdom witness wonder worker writer yellow zebra""".split()

VERBS = """accept adjust allow arrange arrive ask assume attach avoid become begin believe borrow bring build calculate
call carry change check choose close collect compare confirm connect consider continue create decide deliver describe
develop discover discuss draw encode encourage examine expect explain explore fetch find finish follow forget gather
generate give grow guess handle happen help hide hold ignore imagine improve include inform inspect invite join keep
know learn leave listen load maintain make manage measure meet mention move need notice observe offer open order
organise paint perform place plan play point prepare prevent print produce protect provide publish pull push reach read
receive record reduce refuse release remember remove repair repeat replace reply report require return review run save
search select send serve share show sign solve speak start store study suggest support switch take teach test think
trace translate travel trust try turn understand update use verify visit wait walk watch work write""".split()

ADJECTIVES = """able absent active ancient angry bitter blank brave brief bright broken calm careful cheap clean clear
clever cloudy cold common complex cool correct curious daily dark deep different distant double dry early easy empty equal
exact famous final fine firm fresh full gentle global golden grand great green happy hard heavy hidden high hollow honest
huge human humble inner keen large late lazy light local long loud lucky major modern narrow natural new noisy normal odd
old open outer pale perfect plain polite poor prime private proud public pure quick quiet rare raw ready real recent rich
rough round royal sad safe serious sharp short silent simple slow small smooth soft solid spare special steady strange
strong sudden sweet tall thick thin tiny tired true usual vast warm weak wide wild wise young""".split()

LATIN = """lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna
aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris nisi aliquip ex ea commodo consequat duis aute irure
in reprehenderit voluptate velit esse cillum eu fugiat nulla pariatur excepteur sint occaecat cupidatat non proident sunt
culpa qui officia deserunt mollit anim id est laborum""".split()

LANGUAGES = {
    "de": """Straße Brücke Schlüssel Größe Frühling Wetter Bäcker Müller Übung Zeitung Nachbar Fenster Garten Bahnhof
        Gespräch Gemüse Küche König Vögel Wälder Fluss Regen Sonne Schnee Lösung Bücher Freude Arbeit Geschäft Käse schön
        grün früh spät heute morgen gestern immer vielleicht plötzlich natürlich gefährlich ruhig laut öffnen schließen
        hören erzählen prüfen zählen fährt läuft weiß müssen können dürfen der die das und oder aber nicht mit für über
        zwischen während""",
    "fr": """été forêt fenêtre élève hôpital château garçon leçon français rivière lumière première derrière mère frère
        cœur sœur œuvre école musée théâtre idée année soirée matin bientôt demain hier toujours jamais peut-être déjà
        après très léger sévère écrire répéter espérer préférer être connaître naître plaît voilà où à là ça le la les et
        mais donc pour avec sans sous dans une des aujourd'hui quelqu'un""",
    "es": """mañana niño señor año corazón canción estación avión jardín árbol lápiz fácil difícil rápido médico música
        página pájaro teléfono sábado miércoles también después según así aquí allí mamá café sofá pingüino vergüenza
        español montaña sueño pequeño cumpleaños compañero enseñar soñar acompañar está qué cómo cuándo dónde el la los
        las y pero porque para con sin sobre entre ¿verdad? ¡claro!""",
    "ru": """слово город дорога книга письмо зима весна лето осень утро вечер ночь солнце ветер река море гора лес дом окно
        дверь стол хлеб вода друг человек время жизнь работа школа музыка картина вопрос ответ правда тайна сообщение
        сегодня завтра вчера всегда никогда быстро тихо громко красивый новый старый большой маленький читать писать
        говорить слушать идти ехать знать думать и или но что где когда""",
    "el": """λόγος πόλη δρόμος βιβλίο γράμμα χειμώνας άνοιξη καλοκαίρι φθινόπωρο πρωί βράδυ νύχτα ήλιος άνεμος ποτάμι
        θάλασσα βουνό δάσος σπίτι παράθυρο πόρτα τραπέζι ψωμί νερό φίλος άνθρωπος χρόνος ζωή δουλειά σχολείο μουσική
        εικόνα ερώτηση απάντηση αλήθεια μυστικό μήνυμα σήμερα αύριο χθες πάντα ποτέ γρήγορα ήσυχα όμορφος νέος παλιός
        μεγάλος μικρός διαβάζω γράφω και αλλά που όταν""",
    "ar": """كلمة مدينة طريق كتاب رسالة شتاء ربيع صيف خريف صباح مساء ليل شمس ريح نهر بحر جبل غابة بيت نافذة باب طاولة خبز
        ماء صديق إنسان وقت حياة عمل مدرسة موسيقى صورة سؤال جواب حقيقة سر اليوم غدا أمس دائما أبدا بسرعة بهدوء جميل جديد
        قديم كبير صغير يقرأ يكتب يتكلم يسمع يمشي يعرف و أو لكن أين متى من إلى في على""",
    "hi": """शब्द शहर सड़क किताब पत्र सर्दी वसंत गर्मी पतझड़ सुबह शाम रात सूरज हवा नदी समुद्र पहाड़ जंगल घर खिड़की दरवाज़ा मेज़
        रोटी पानी दोस्त इंसान समय जीवन काम विद्यालय संगीत चित्र सवाल जवाब सच रहस्य संदेश आज कल हमेशा कभी जल्दी धीरे सुंदर
        नया पुराना बड़ा छोटा पढ़ना लिखना बोलना सुनना चलना जानना और या लेकिन कहाँ कब से में पर""",
    "ko": """단어 도시 길 책 편지 겨울 봄 여름 가을 아침 저녁 밤 태양 바람 강 바다 산 숲 집 창문 문 식탁 빵 물 친구 사람 시간 인생 일
        학교 음악 그림 질문 대답 진실 비밀 메시지 오늘 내일 어제 항상 빨리 조용히 아름다운 새로운 오래된 큰 작은 읽다 쓰다 말하다
        듣다 걷다 알다 그리고 하지만 어디 언제""",
    "pl": """słowo miasto książka wiosna jesień śnieg źródło żółty łódź gęś dziękuję proszę również później wcześniej
        zawsze nigdy ponieważ człowiek życie praca szkoła muzyka obraz pytanie odpowiedź prawda tajemnica wiadomość dzisiaj
        jutro wczoraj szybko cicho piękny nowy stary duży mały czytać pisać mówić słuchać i lub ale gdzie kiedy""",
    "tr": """sözcük şehir yol kitap mektup kış ilkbahar yaz sonbahar sabah akşam gece güneş rüzgâr ırmak deniz dağ orman ev
        pencere kapı masa ekmek su arkadaş insan zaman yaşam iş okul müzik resim soru yanıt gerçek gizli bugün yarın dün
        çabuk sessiz güzel yeni eski büyük küçük okumak yazmak konuşmak ve ama nerede""",
}
LANGUAGES = {name: text.split() for name, text in LANGUAGES.items()}

# Without spaces between words.
DENSE = {
    "zh": """今天 明天 昨天 我们 他们 朋友 老师 学生 学校 城市 道路 书籍 信件 春天 夏天 秋天 冬天 早晨 晚上 太阳 月亮 星星 河流 大海
        高山 森林 房子 窗户 问题 答案 真相 秘密 消息 图像 音乐 时间 生活 工作 快乐 安静 美丽 新的 古老 很大 很小 阅读 写作 说话 知道
        因为 所以 但是 然后 如果 可以 需要 隐藏 发现""".split(),
    "ja": """今日は 明日は 昨日は 私たちは 友だちが 先生と 学生が 学校で 町の 道を 本を 手紙を 春の 夏の 秋の 冬の 朝に 夜に 太陽が
        月が 星が 川と 海へ 山へ 森で 家の 窓から 質問に 答えを 真実は 秘密の メッセージ 画像に 音楽を 時間が 生活と 仕事は 静かに
        美しい 新しい 古い 大きな 小さな 読みました 書きました 話します 知っています しかし そして カメラ データ ひらがな""".split(),
}

EMOJI = "😀 😂 🥰 😎 🤖 👍 🙏 🎉 🚀 🔥 🌍 🌙 ⭐ 🌈 🍀 🍎 🍕 ☕ 🎵 📷 📦 💡 🔒 🔑 ❤️ 💬 ✅ ❌ ⚠️ 🐍 🐙 🦊 🐝 🌻 🏔️ 🏠 🚲 ✈️ 👩‍💻 🇪🇺".split()
