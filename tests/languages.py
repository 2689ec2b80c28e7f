"""Sentences of many languages and scripts, written for these tests: every mark that one of them
needs.
"""

SENTENCES = {
    "English": [
        "The dogs' tails wag; it's 3.14, 1,000 or 10:30 – not more.",
        "A rock - climbing or not - near the U.S.A. (e.g. in Utah).",
        '"Who\'s there?" she asked. "R&D, Mr. O\'Neill."',
        "Write to info@example.org or see www.example.org/a_b-c, item #3, $5.00 (50%).",
        "Wait... what?! He/she said 'yes' and/or ‘no’ – “maybe” — never.",
    ],
    "German": [
        "Er sagte: „Das ist gut“, und ging.",
        "Die Größe „L“ kostet 1.234,56 € – z. B. im E-Mail-Shop, S. 3 f.",
        "‚Einfach‘ oder »doppelt«? Straßen- und U-Bahn!",
    ],
    "French": [
        "« Où vas-tu ? » demanda-t-elle ; l'homme répondit : « Là-bas ! »",
        "Aujourd’hui, c’est 50 % moins cher : 1 234,56 €.",
    ],
    "Spanish": ["¿Dónde está? ¡Aquí! —dijo ella—, ¿no?", "El 3,5% de «los niños» (o más): ¡¿qué?!"],
    "Russian": [
        "Он сказал: «Привет, как дела?» — и ушёл.",
        "В 2020-м г. т. е. всё-таки — «ёлка» № 5.",
    ],
    "Hindi": ["यह एक किताब है। क्या आप पढ़ते हैं?", "उसने कहा, “मैं घर जा रहा हूँ।”", "क्‍ष और क्ष, ३.५ किलो॥"],
    "Arabic": ["هل هذا كتاب؟ نعم، هو كتاب.", "قال: «أهلاً»؛ ثم ذهب (٣٫٥٪)."],
    "Persian": ["می‌روم و کتاب‌ها را می‌خوانم.", "«خانه‌ام» کجاست؟"],
    "Hebrew": ['הוא אמר: "שלום", וצה״ל ענה.', "מה שלומך? ג'ירפה!"],
    "Chinese": [
        "今天天气很好，我们去公园吧！",
        "他说：“你好。”（2008年，北京）",
        "我有3个iPhone 15和《红楼梦》。",
    ],
    "Japanese": [
        "猫が座った。「こんにちは」と彼は言った。",
        "東京タワーは333メートル、Ver. 2です！",
    ],
    "Korean": ["오늘은 날씨가 좋다. “안녕하세요?”라고 말했다.", "3월 1일(일), 서울·부산에서."],
    "Thai": ["วันนี้อากาศดี ไปเที่ยวกันไหม", "เขาพูดว่า “สวัสดี” แล้วก็ไป (๓.๕ กม.)", "ก" * 125],
    "Khmer": ["ថ្ងៃនេះអាកាសធាតុល្អ។ តើអ្នកទៅណា?"],
    "Tamil": ["இன்று வானிலை நன்றாக உள்ளது. நீங்கள் எங்கே போகிறீர்கள்?"],
    "Amharic": ["ዛሬ አየሩ ጥሩ ነው። ወዴት ትሄዳለህ፧"],
    "Greek": ["Τι κάνεις; Είπε: «Καλά, ευχαριστώ»· και έφυγε.", "Ο ΟΔΥΣΣΕΥΣ λέει: ’Σ το σπίτι."],
    "Turkish": ["İstanbul'da ılık bir gün, değil mi?", "Ankara’nın 3'üncü caddesi."],
    "Emoji": ["Great 👍🏽! A family: 👨‍👩‍👧, a flag 🇩🇪 and ❤️."],
}
